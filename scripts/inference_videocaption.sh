#!/bin/sh
# Measure a checkpoint of a network that captions videos on the test split.
#
#   sh scripts/inference_videocaption.sh
#
# takes the best checkpoint of configs_video/VideoCaption_shapes_tiny.yaml, and trains it first if there is none.
#
#   CONFIG=configs_video/VideoCaption_msrvtt_large.yaml CHECKPOINT=runs/VideoCaption_msrvtt_large/best GPUS=8 \
#       sh scripts/inference_videocaption.sh
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_video/VideoCaption_shapes_tiny.yaml
ask="--video FILE"
measure "$@"
