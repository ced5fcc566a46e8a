#!/bin/sh
# Train a network that puts images into classes, and test it.
#
#   sh scripts/run_imagenet.sh
#       on generated data (data/shapes): configs_image/classes_shapes_tiny.yaml
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/classes_shapes_tiny.yaml
inputs="--image FILE"
run train_and_test "$@"
