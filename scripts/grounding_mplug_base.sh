#!/bin/sh
# Train mPLUG to find in an image what a phrase describes, and test it.
#
#   sh scripts/grounding_mplug_base.sh
#       on generated data (data/shapes): configs_image/grounding_shapes_tiny.yaml
#   CHECKPOINT=mplug_base.pth GPUS=8 sh scripts/grounding_mplug_base.sh
#       on RefCOCO, from mPLUG's released weights: configs_image/grounding_mplug_base.yaml (names the paths of images
#       and annotations); for the large network CONFIG=configs_image/grounding_mplug_large.yaml
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/grounding_shapes_tiny.yaml
finetuned=configs_image/grounding_mplug_base.yaml
inputs="--image FILE --text 'the red square'"
run train_and_test "$@"
