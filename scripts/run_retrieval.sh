#!/bin/sh
# Train a network that finds images by captions and captions by images, and test it.
#
#   sh scripts/run_retrieval.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_image/retrieval_shapes_tiny.yaml
# and measures the best checkpoint on the test split. What is done already is skipped.
#
#   CONFIG=configs_image/retrieval_coco_mplug2_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_retrieval.sh
#
# fine-tunes released weights on COCO; the paths of images and annotations stand in the spec.
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_image/retrieval_shapes_tiny.yaml
use='index build'
ask="--media FOLDER -o INDEX"
train_and_test "$@"
