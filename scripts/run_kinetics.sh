#!/bin/sh
# Train a network that puts videos into classes, and test it.
#
#   sh scripts/run_kinetics.sh
#       on generated data (data/shapes): configs_video/VideoClasses_shapes_tiny.yaml
#   CONFIG=configs_video/VideoClasses_kinetics400_base.yaml GPUS=8 sh scripts/run_kinetics.sh
#       on Kinetics-400, from CLIP's ViT-B/16; the spec names the paths of files and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/VideoClasses_shapes_tiny.yaml
inputs="--video FILE"
run train_and_test "$@"
