#!/bin/sh
# Train mPLUG to caption images with CIDEr as the objective (self-critical training), and test it.
#
#   sh scripts/caption_mplug_large_scst.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_image/caption_shapes_tiny_scst.yaml
# (from the network of caption_mplug_base.sh, which runs first if it has not) and measures the best checkpoint on
# the test split. What is done already is skipped.
#
#   CHECKPOINT=runs/caption_mplug_large/best GPUS=8 sh scripts/caption_mplug_large_scst.sh
#
# goes on from a network trained by cross-entropy (configs_image/caption_mplug_large.yaml) by
# configs_image/caption_mplug_large_scst.yaml (COCO).
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_image/caption_shapes_tiny_scst.yaml
finetuned=configs_image/caption_mplug_large_scst.yaml
first=caption_mplug_base.sh
ask="--image FILE"
train_and_test "$@"
