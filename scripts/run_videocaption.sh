#!/bin/sh
# Train a network that captions videos, and test it.
#
#   sh scripts/run_videocaption.sh
#       on generated data (data/shapes): configs_video/VideoCaption_shapes_tiny.yaml
#   CONFIG=configs_video/VideoCaption_msrvtt_large.yaml CHECKPOINT=mPLUG2_MSRVTT_Caption.pth GPUS=8 sh scripts/run_videocaption.sh
#       on MSRVTT, from the released model; the spec names the paths of videos and annotations
#   CONFIG=configs_video/VideoCaption_shapes_tiny_scst.yaml CHECKPOINT=runs/VideoCaption_shapes_tiny/best sh scripts/run_videocaption.sh
#       self-critical training, with CIDEr as the objective, from the network of the first command
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/VideoCaption_shapes_tiny.yaml
inputs="--video FILE"
run train_and_test "$@"
