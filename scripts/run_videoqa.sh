#!/bin/sh
# Train a video question answering network and test it.
#
#   sh scripts/run_videoqa.sh
#
# sets up .venv, generates the shapes videos (data/shapes), trains configs_video/VideoQA_shapes_tiny.yaml and measures the best
# checkpoint on the test split: 4 to 7 minutes after the installation on 2 CPU cores. What is done already is skipped.
#
#   CONFIG=configs_video/VideoQA_msrvtt_large.yaml CHECKPOINT=mPLUG2_MSRVTT_QA.pth GPUS=8 sh scripts/run_videoqa.sh
#
# fine-tunes the released model on MSRVTT-QA; the paths of its videos and annotations stand at the top of the spec.
#
# Settings (environment), relative paths as seen from where you are:
#   CONFIG=FILE       the spec
#   CHECKPOINT=PATH   start from these weights: a released .pth, or a checkpoint folder or .safetensors file of mplug2's own
#   OUT=FOLDER        the run folder instead of runs/<name of the spec>
#   OVERRIDES='...'   settings on top of the spec, with spaces between: 'train.epochs=2 train.batch=8'
#   GPUS=N            that many GPUs of this machine (of each machine); one process unless set
#   HOSTFILE=FILE     several machines that this one reaches by ssh: lines such as `worker-1 slots=8`
#   NNODES=N NODE_RANK=I MASTER_ADDR=HOST [MASTER_PORT=29500]
#                     several machines without ssh: run this script on each, with its own NODE_RANK (0 to N-1)
# Arguments are settings, too: sh scripts/run_videoqa.sh train.epochs=2
set -eu
. "$(dirname -- "$0")/env.sh"
. "$project/scripts/launch.sh"
sh "$project/scripts/setup.sh"

tiny=configs_video/VideoQA_shapes_tiny.yaml
config=$(from_project "${CONFIG:-$tiny}")
HOSTFILE=${HOSTFILE:+$(from_project "$HOSTFILE")}
name=$(basename -- "$config")
out=${OUT:-runs/${name%.*}}
case $out in
    /*) ;;
    *) if [ -n "${OUT:-}" ] && [ "$here" != "$project" ]; then out=$here/$out; fi ;;
esac
cd "$project"
[ -f "$config" ] || die "CONFIG=$config must be a spec, but there is no such file"

# shellcheck disable=SC2086  # OVERRIDES is a list of words
set -- "train.out=$out" ${OVERRIDES:-} "$@"

if [ "$config" = "$tiny" ]; then
    "$mplug2" data make-shapes data/shapes
fi

if [ -f "$out/trained" ]; then
    say "trained already: $out (to start anew: rm -r '$out', or choose another folder: OUT=runs/again)"
else
    if [ -n "${CHECKPOINT:-}" ]; then
        checkpoint=$(from_project "$CHECKPOINT")
        [ -e "$checkpoint" ] || die "CHECKPOINT=$CHECKPOINT must be a file or a folder, but there is none"
        case $checkpoint in
            *.pth | *.pt | *.bin) launch train "$config" --resume --init "*=mplug2:$checkpoint" "$@" ;;
            *) launch train "$config" --resume --init "*=own:$checkpoint" "$@" ;;
        esac
    else
        launch train "$config" --resume "$@" # goes on where an interrupted run ended
    fi
    # a later call must not train again, but one after an interruption must
    mkdir -p "$out" && : >"$out/trained"
fi

best=$out/best
[ -e "$best" ] || best=$out/last
launch eval "$config" --checkpoint "$best" --split test --out "$out/predictions/test.jsonl" "$@"
say "next: .venv/bin/mplug2 predict $config --checkpoint $best --video FILE --question '...'"
