#!/bin/sh
# Train mPLUG to caption images with CIDEr as the objective (self-critical training), and test it.
#
#   sh scripts/caption_mplug_large_scst.sh
#       on generated data (data/shapes): configs_image/caption_shapes_tiny_scst.yaml;
#       starts from the network of caption_mplug_base.sh, which is trained first if necessary
#   CHECKPOINT=runs/caption_mplug_large/best GPUS=8 sh scripts/caption_mplug_large_scst.sh
#       on COCO, from a network trained with cross-entropy (configs_image/caption_mplug_large.yaml):
#       configs_image/caption_mplug_large_scst.yaml
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/caption_shapes_tiny_scst.yaml
finetuned=configs_image/caption_mplug_large_scst.yaml
pretrained=configs_image/caption_shapes_tiny.yaml
inputs="--image FILE"
run train_and_test "$@"
