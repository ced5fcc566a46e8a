#!/bin/sh
# Train CLIP on images and their captions, and test it: retrieval, and classes by prompts.
#
#   sh scripts/run_clip.sh
#       on generated data (data/shapes): configs_image/clip_shapes_tiny.yaml
#   CONFIG=configs_image/clip_b32.yaml GPUS=8 sh scripts/run_clip.sh
#       on COCO, from OpenAI's released weights; the spec names the paths of images and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/clip_shapes_tiny.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
run train_and_test "$@"
