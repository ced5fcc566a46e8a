#!/bin/sh
# Train mPLUG to caption images, and test it.
#
#   sh scripts/caption_mplug_base.sh
#       on generated data (data/shapes): configs_image/caption_shapes_tiny.yaml
#   CHECKPOINT=mplug_base.pth GPUS=8 sh scripts/caption_mplug_base.sh
#       on COCO, from mPLUG's released weights: configs_image/caption_mplug_base.yaml (names the paths of images
#       and annotations); for the large network CONFIG=configs_image/caption_mplug_large.yaml
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/caption_shapes_tiny.yaml
finetuned=configs_image/caption_mplug_base.yaml
inputs="--image FILE"
run train_and_test "$@"
