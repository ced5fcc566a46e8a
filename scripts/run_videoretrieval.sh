#!/bin/sh
# Train a network that finds videos by captions and captions by videos, and test it.
#
#   sh scripts/run_videoretrieval.sh
#       on generated data (data/shapes): configs_video/VideoRetrieval_shapes_tiny.yaml;
#       starts from the network of run_videocaption.sh, which is trained first if necessary
#   CONFIG=configs_video/VideoRetrieval_msrvtt_large.yaml CHECKPOINT=mplug2_pretrain.pth GPUS=8 sh scripts/run_videoretrieval.sh
#       on MSRVTT, from mPLUG-2's released weights; the spec names the paths of videos and annotations
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_video/VideoRetrieval_shapes_tiny.yaml
pretrained=configs_video/VideoCaption_shapes_tiny.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
run train_and_test "$@"
