#!/bin/sh
# Train a network that puts images into classes, and test it.
#
#   sh scripts/run_imagenet.sh
#       on generated data (data/shapes): configs_image/classes_shapes_tiny.yaml
#   CONFIG=configs_image/classes_imagenet_base.yaml GPUS=8 sh scripts/run_imagenet.sh
#       on ImageNet-1K, from CLIP's ViT-B/16; the spec names the paths of files and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/classes_shapes_tiny.yaml
inputs="--image FILE"
run train_and_test "$@"
