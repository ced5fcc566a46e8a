#!/bin/sh
# Train mPLUG to find images by captions and captions by images (Flickr30K), and test it.
#
#   sh scripts/retrieval_flickr30k_mplug_base.sh
#       on generated data (data/shapes): configs_image/retrieval_shapes_tiny.yaml
#   CHECKPOINT=mplug_base.pth GPUS=8 sh scripts/retrieval_flickr30k_mplug_base.sh
#       on Flickr30K, from mPLUG's released weights: configs_image/retrieval_flickr30k_mplug_base.yaml (names the paths of images
#       and annotations); for the large network CONFIG=configs_image/retrieval_flickr30k_mplug_large.yaml
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/retrieval_shapes_tiny.yaml
finetuned=configs_image/retrieval_flickr30k_mplug_base.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
run train_and_test "$@"
