#!/bin/sh
# Train a network to fill in hidden words or to write on, and measure its perplexity.
#
#   sh scripts/run_mlm.sh
#       masked words of generated sentences (data/shapes): configs_text/mlm_shapes_tiny.yaml
#   CONFIG=configs_text/mlm_base.yaml CHECKPOINT=bert-base-uncased GPUS=8 sh scripts/run_mlm.sh data.train.text_file=FILE data.val.text_file=FILE
#       on your plain text, from a Hugging Face folder of a BERT; the other specs (mlm_*, clm_*) name their files in the header
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_text/mlm_shapes_tiny.yaml
example='eval'
inputs='--split test'
note='other texts: CONFIG=configs_text/mlm_base.yaml data.train.text_file=FILE data.val.text_file=FILE (plain UTF-8, of any size)'
run train_and_test "$@"
