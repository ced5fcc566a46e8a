#!/bin/sh
# Train a video question answering network and test it.
#
#   sh scripts/run_videoqa.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_video/VideoQA_shapes_tiny.yaml
# and measures the best checkpoint on the test split: 4 to 7 minutes after
# the installation on 2 CPU cores. What is done already is skipped.
#
#   CONFIG=configs_video/VideoQA_msrvtt_large.yaml CHECKPOINT=mPLUG2_MSRVTT_QA.pth GPUS=8 sh scripts/run_videoqa.sh
#
# fine-tunes the released model on MSRVTT-QA; the paths of its videos and annotations stand in the spec.
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_video/VideoQA_shapes_tiny.yaml
ask="--video FILE --question '...'"
train_and_test "$@"
