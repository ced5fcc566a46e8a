#!/bin/sh
# Measure a checkpoint of a video question answering network on the test split.
#
#   sh scripts/inference_videoqa.sh
#
# takes the best checkpoint of configs_video/VideoQA_shapes_tiny.yaml, and trains it first if there is none.
#
#   CONFIG=configs_video/VideoQA_msrvtt_large.yaml CHECKPOINT=runs/VideoQA_msrvtt_large/best GPUS=8 sh scripts/inference_videoqa.sh
#
# Settings (environment), relative paths as seen from where you are:
#   CONFIG=FILE         the spec
#   CHECKPOINT=PATH     a checkpoint folder or a .safetensors file (a released .pth: `mplug2 convert` makes one of it)
#   SPLIT=test          train, val or test
#   PREDICTIONS=FILE    where every prediction is written, a JSON object a line; runs/<name of the spec>/predictions/<split>.jsonl
#   OVERRIDES='...', GPUS=N, HOSTFILE=FILE, NNODES=N ...: as in run_videoqa.sh
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/launch.sh"

tiny=configs_video/VideoQA_shapes_tiny.yaml
config=$(from_project "${CONFIG:-$tiny}")
name=$(basename -- "$config")
run=runs/${name%.*}
if [ -z "${CHECKPOINT:-}" ]; then
    [ "$config" = "$tiny" ] || die "CHECKPOINT= must name the weights to measure, such as $run/best"
    [ -f "$project/$run/trained" ] || exec sh "$project/scripts/run_videoqa.sh" "$@"
fi
sh "$project/scripts/setup.sh"
checkpoint=$(from_project "${CHECKPOINT:-$run/best}")
HOSTFILE=${HOSTFILE:+$(from_project "$HOSTFILE")}
predictions=${PREDICTIONS:-$run/predictions/${SPLIT:-test}.jsonl}
case $predictions in
    /*) ;;
    *) if [ -n "${PREDICTIONS:-}" ]; then predictions=$here/$predictions; fi ;;
esac
cd "$project"
[ -f "$config" ] || die "CONFIG=$config must be a spec, but there is no such file"

# shellcheck disable=SC2086  # OVERRIDES is a list of words
launch eval "$config" --checkpoint "$checkpoint" --split "${SPLIT:-test}" --out "$predictions" ${OVERRIDES:-} "$@"
