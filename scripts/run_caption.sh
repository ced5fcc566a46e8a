#!/bin/sh
# Train a network that captions images, and test it.
#
#   sh scripts/run_caption.sh
#       on generated data (data/shapes): configs_image/caption_shapes_tiny.yaml
#   CONFIG=configs_image/caption_mplug2_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_caption.sh
#       on COCO, from mPLUG-2's released weights; the spec names the paths of images and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/caption_shapes_tiny.yaml
inputs="--image FILE"
run train_and_test "$@"
