#!/bin/sh
# Train a network that captions videos and test it.
#
#   sh scripts/run_videocaption.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_video/VideoCaption_shapes_tiny.yaml
# and measures the best checkpoint on the test split. What is done already is skipped.
#
#   CONFIG=configs_video/VideoCaption_msrvtt_large.yaml CHECKPOINT=mPLUG2_MSRVTT_Caption.pth GPUS=8 sh scripts/run_videocaption.sh
#
# fine-tunes the released model on MSRVTT; the paths of its videos and annotations stand in the spec.
#
#   CONFIG=configs_video/VideoCaption_shapes_tiny_scst.yaml CHECKPOINT=runs/VideoCaption_shapes_tiny/best sh scripts/run_videocaption.sh
#
# goes on with CIDEr as the objective (self-critical training).
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_video/VideoCaption_shapes_tiny.yaml
ask="--video FILE"
train_and_test "$@"
