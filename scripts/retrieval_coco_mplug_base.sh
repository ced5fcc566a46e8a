#!/bin/sh
# Train mPLUG to find images by captions and captions by images (COCO), and test it.
#
#   sh scripts/retrieval_coco_mplug_base.sh
#
# sets up .venv, generates the shapes world (data/shapes), trains configs_image/retrieval_shapes_tiny.yaml
# and measures the best checkpoint on the test split. What is done already is skipped.
#
#   CHECKPOINT=mplug_base.pth GPUS=8 sh scripts/retrieval_coco_mplug_base.sh
#
# fine-tunes mPLUG's released weights by configs_image/retrieval_coco_mplug_base.yaml
# (COCO); the paths of images and annotations stand there. CONFIG= names another spec, such as
# configs_image/retrieval_coco_mplug_large.yaml.
#
# Settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): see task.sh.
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/task.sh"

tiny=configs_image/retrieval_shapes_tiny.yaml
finetuned=configs_image/retrieval_coco_mplug_base.yaml
use='index build'
ask="--media FOLDER -o INDEX"
train_and_test "$@"
