#!/bin/sh
# Train mPLUG to answer questions about images, and test it.
#
#   sh scripts/vqa_mplug_base.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_image/vqa_shapes_tiny.yaml
# and measures the best checkpoint on the test split. What is done already is skipped.
#
#   CHECKPOINT=mplug_base.pth GPUS=8 sh scripts/vqa_mplug_base.sh
#
# fine-tunes mPLUG's released weights by configs_image/vqa_mplug_base.yaml
# (VQA v2); the paths of images and annotations stand there. CONFIG= names another spec, such as
# configs_image/vqa_mplug_large.yaml.
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_image/vqa_shapes_tiny.yaml
finetuned=configs_image/vqa_mplug_base.yaml
ask="--image FILE --question '...'"
train_and_test "$@"
