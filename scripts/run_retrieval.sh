#!/bin/sh
# Train a network that finds images by captions and captions by images, and test it.
#
#   sh scripts/run_retrieval.sh
#       on generated data (data/shapes): configs_image/retrieval_shapes_tiny.yaml
#   CONFIG=configs_image/retrieval_coco_mplug2_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_retrieval.sh
#       on COCO, from mPLUG-2's released weights; the spec names the paths of images and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/retrieval_shapes_tiny.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
run train_and_test "$@"
