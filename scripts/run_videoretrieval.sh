#!/bin/sh
# Train a network that finds videos by captions and captions by videos, and test it.
#
#   sh scripts/run_videoretrieval.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_video/VideoRetrieval_shapes_tiny.yaml
# (from the network of run_videocaption.sh, which runs first if it has not) and measures the best checkpoint on
# the test split. What is done already is skipped.
#
#   CONFIG=configs_video/VideoRetrieval_msrvtt_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_videoretrieval.sh
#
# fine-tunes released weights on MSRVTT; the paths of videos and annotations stand in the spec.
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_video/VideoRetrieval_shapes_tiny.yaml
first=run_videocaption.sh
use='index build'
ask="--media FOLDER -o INDEX"
train_and_test "$@"
