#!/bin/sh
# Train TiMix: pre-train it on images with captions and phrases about regions, or fine-tune it; and test it.
#
#   sh scripts/run_timix.sh
#       pre-training on generated data (data/shapes): configs_image/pretrain_timix_shapes_tiny.yaml
#   CONFIG=configs_image/pretrain_timix_base.yaml GPUS=8 sh scripts/run_timix.sh
#       pre-training on the data sets that the spec names
#   CHECKPOINT=timix_base.pth GPUS=8 sh scripts/run_timix.sh
#       fine-tuning on VQA v2 from TiMix's weights: configs_image/vqa_timix_base.yaml (the README's vqa_mplug_base.sh)
#   CONFIG=configs_image/caption_timix_base.yaml CHECKPOINT=timix_base.pth GPUS=8 sh scripts/run_timix.sh
#       on another task: caption_timix_base, retrieval_coco_timix_base, retrieval_flickr30k_timix_base, grounding_timix_base
#       (the README's scripts of these names with mplug instead of timix)
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/pretrain_timix_shapes_tiny.yaml
finetuned=configs_image/vqa_timix_base.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
run train_and_test "$@"
