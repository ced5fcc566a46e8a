#!/bin/sh
# Train mPLUG to answer questions about images, and test it.
#
#   sh scripts/vqa_mplug_base.sh
#       on generated data (data/shapes): configs_image/vqa_shapes_tiny.yaml
#   CHECKPOINT=mplug_base.pth GPUS=8 sh scripts/vqa_mplug_base.sh
#       on VQA v2, from mPLUG's released weights: configs_image/vqa_mplug_base.yaml (names the paths of images
#       and annotations); for the large network CONFIG=configs_image/vqa_mplug_large.yaml
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/vqa_shapes_tiny.yaml
finetuned=configs_image/vqa_mplug_base.yaml
inputs="--image FILE --question '...'"
run train_and_test "$@"
