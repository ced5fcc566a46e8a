#!/bin/sh
# Train networks for GLUE's tasks, measure them, write predictions for its server, and print one table with the average.
#
#   sh scripts/run_glue.sh
#       the tasks whose files are in data/glue; without any of them generated sentences: configs_text/entailment_shapes_tiny.yaml
#   SIZE=base TASKS='cola rte' CHECKPOINT=runs/mlm/best SEEDS=3 sh scripts/run_glue.sh
#       two tasks with the specs *_base.yaml, each from a checkpoint and with three seeds
#
# Steps and settings (CHECKPOINT, OUT, OVERRIDES, GPUS ...): scripts/README.md.
. "$(dirname -- "$0")/lib/launcher.sh"
. "$(dirname -- "$0")/lib/glue.sh"

tiny=configs_text/entailment_shapes_tiny.yaml
inputs="--text '... [SEP] ...'"
run train_and_tabulate "$@"
