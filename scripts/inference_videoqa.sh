#!/bin/sh
# Measure a checkpoint of a video question answering network on the test split.
#
#   sh scripts/inference_videoqa.sh
#
# takes the best checkpoint of configs_video/VideoQA_shapes_tiny.yaml, and trains it first if there is none.
#
#   CONFIG=configs_video/VideoQA_msrvtt_large.yaml CHECKPOINT=runs/VideoQA_msrvtt_large/best GPUS=8 sh scripts/inference_videoqa.sh
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_video/VideoQA_shapes_tiny.yaml
ask="--video FILE --question '...'"
measure "$@"
