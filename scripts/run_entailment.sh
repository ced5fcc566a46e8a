#!/bin/sh
# Train a network that judges sentences about an image, and test it.
#
#   sh scripts/run_entailment.sh
#       on generated data (data/shapes): configs_image/entailment_shapes_tiny.yaml
#   CONFIG=configs_image/snli_ve_mplug2_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_entailment.sh
#       on SNLI-VE, from mPLUG-2's released weights; the spec names the paths of images and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/entailment_shapes_tiny.yaml
inputs="--image FILE --text '...'"
run train_and_test "$@"
