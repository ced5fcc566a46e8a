#!/bin/sh
# Train a network that answers questions about videos, and test it.
#
#   sh scripts/run_videoqa.sh
#       on generated data (data/shapes): configs_video/VideoQA_shapes_tiny.yaml;
#       4 to 7 minutes after the installation on 2 CPU cores
#   CONFIG=configs_video/VideoQA_msrvtt_large.yaml CHECKPOINT=mPLUG2_MSRVTT_QA.pth GPUS=8 sh scripts/run_videoqa.sh
#       on MSRVTT-QA, from the released model; the spec names the paths of videos and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/VideoQA_shapes_tiny.yaml
inputs="--video FILE --question '...'"
run train_and_test "$@"
