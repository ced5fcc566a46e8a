#!/bin/sh
# Train UNITER on a task over image regions, and test it.
#
#   sh scripts/run_uniter.sh
#       on generated data (data/shapes), with the true boxes: configs_image/uniter_grounding_shapes_tiny.yaml
#   CHECKPOINT=uniter-base.pt GPUS=8 sh scripts/run_uniter.sh
#       on VQA v2, from UNITER's released weights; the spec names the paths of annotations and features
#   CONFIG=configs_image/nlvr2_uniter_large.yaml CHECKPOINT=uniter-large.pt GPUS=8 sh scripts/run_uniter.sh
#       on another task: nlvr2_uniter_*, snli_ve_uniter_*, grounding_uniter_base
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/uniter_grounding_shapes_tiny.yaml
finetuned=configs_image/vqa_uniter_base.yaml
example='eval'
inputs=''
run train_and_test "$@"
