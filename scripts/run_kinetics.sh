#!/bin/sh
# Train a network that puts videos into classes, and test it.
#
#   sh scripts/run_kinetics.sh
#       on generated data (data/shapes): configs_video/VideoClasses_shapes_tiny.yaml
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/VideoClasses_shapes_tiny.yaml
inputs="--video FILE"
run train_and_test "$@"
