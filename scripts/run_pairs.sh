#!/bin/sh
# Train a network that judges sentences about two images, and test it.
#
#   sh scripts/run_pairs.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_image/pairs_shapes_tiny.yaml
# and measures the best checkpoint on the test split. What is done already is skipped.
#
#   CONFIG=configs_image/nlvr2_mplug2_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_pairs.sh
#
# fine-tunes released weights on NLVR2; the paths of images and annotations stand in the spec.
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_image/pairs_shapes_tiny.yaml
ask="--image LEFT --image RIGHT --text '...'"
train_and_test "$@"
