#!/bin/sh
# Pre-train a network on images, videos and text, and test how it finds images by captions without fine-tuning.
#
#   sh scripts/run_pretrain.sh
#       on generated data (data/shapes): configs_video/pretrain_mplug2_shapes_tiny.yaml; then find clips with the same network:
#       mplug2 eval configs_video/VideoRetrieval_shapes_tiny_zero_shot.yaml --checkpoint runs/pretrain_mplug2_shapes_tiny/best
#   CONFIG=configs_video/pretrain_mplug2_large.yaml GPUS=8 sh scripts/run_pretrain.sh
#       on the data sets that the spec names
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/pretrain_mplug2_shapes_tiny.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
run train_and_test "$@"
