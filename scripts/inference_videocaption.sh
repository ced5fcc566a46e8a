#!/bin/sh
# Evaluate a checkpoint of a network that captions videos on the test split.
#
#   sh scripts/inference_videocaption.sh
#       the best checkpoint of configs_video/VideoCaption_shapes_tiny.yaml, which is trained first if necessary
#   CONFIG=configs_video/VideoCaption_msrvtt_large.yaml CHECKPOINT=runs/VideoCaption_msrvtt_large/best GPUS=8 sh scripts/inference_videocaption.sh
#       the best checkpoint of another network
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/VideoCaption_shapes_tiny.yaml
inputs="--video FILE"
run evaluate "$@"
