#!/bin/sh
# Train VLMo: the text stage, pre-training on images with captions, retrieval and pairs of images; test the latter two.
#
#   sh scripts/run_vlmo.sh
#       on generated data (data/shapes): configs_image/vlmo_pretrain_shapes_tiny.yaml
#   sh scripts/run_vlmo.sh num_gpus=8 num_nodes=1 task_finetune_irtr_coco_base_image384 per_gpu_batchsize=32 \
#           load_path=vlmo_base.pt log_dir=runs/coco
#       the words that follow `with` in the README of the official code; it prints the spec and the settings that they are
#       here. The specs name the paths of images and annotations.
#
# Steps and settings (CONFIG, CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"

tiny=configs_image/vlmo_pretrain_shapes_tiny.yaml
example='index build'
inputs="--media FOLDER -o INDEX"
. "$(dirname -- "$0")/lib/vlmo.sh"
run train_and_test "$@"
