# Sourced after env.sh by the scripts of the tasks. `train_and_test` and `measure` do the work; before, a script sets
#   tiny=SPEC       what runs when nothing else is asked for: a small network on the shapes world
#   finetuned=SPEC  (if it likes) what CHECKPOINT= alone fine-tunes
#   first=SCRIPT    (if it likes) the script whose network `tiny` starts from
#   ask=WORDS       what `mplug2 predict` is asked with: the command that is named in the end
#   use=COMMAND     (if it likes) another command than predict
#
# Settings (environment), relative paths as seen from where you are:
#   CONFIG=FILE       the spec
#   CHECKPOINT=PATH   training: start from these weights, a released .pth, or a checkpoint folder or .safetensors file of mplug2's
#                     own; measuring: the weights to measure (no .pth: `mplug2 convert` makes a .safetensors file of it)
#   OUT=FOLDER        the run folder instead of runs/<name of the spec>
#   OVERRIDES='...'   settings on top of the spec, with spaces between: 'train.epochs=2 train.batch=8'
#   GPUS=N            that many GPUs of this machine (of each machine); one process unless set
#   HOSTFILE=FILE     several machines that this one reaches by ssh: lines such as `worker-1 slots=8`
#   NNODES=N NODE_RANK=I MASTER_ADDR=HOST [MASTER_PORT=29500]
#                     several machines without ssh: run the script on each, with its own NODE_RANK (0 to N-1)
#   SPLIT=test        measuring: train, val or test instead of the spec's eval.split
#   PREDICTIONS=FILE  measuring: where every prediction is written, a JSON object a line; runs/<name of the spec>/predictions/
# Arguments are settings of the spec, too: sh scripts/run_videoqa.sh train.epochs=2
#
# A spec with `_shapes_` in its name needs no data of yours: data/shapes is generated.

. "$project/scripts/launch.sh"

# Set config, name, out, predictions and hosts from the settings, and go to the project's folder.
begin() {
    sh "$project/scripts/setup.sh"
    config=$tiny
    [ -z "${CHECKPOINT:-}" ] || config=${finetuned:-$tiny}
    config=$(from_project "${CONFIG:-$config}")
    name=$(basename -- "$config")
    name=${name%.*}
    HOSTFILE=${HOSTFILE:+$(from_project "$HOSTFILE")}
    checkpoint=${CHECKPOINT:+$(from_project "$CHECKPOINT")}
    out=$(written_to "${OUT:-}" "runs/$name")
    predictions=$(written_to "${PREDICTIONS:-}" "$out/predictions/${SPLIT:-measured}.jsonl")
    cd "$project"
    [ -f "$config" ] || die "CONFIG=$config must be a spec, but there is no such file"
}

# A path to write to, as seen from the project's folder: the first if it is set, else the second.
written_to() {
    case $1 in
        '') printf '%s\n' "$2" ;;
        /*) printf '%s\n' "$1" ;;
        *) if [ "$here" = "$project" ]; then printf '%s\n' "$1"; else printf '%s\n' "$here/$1"; fi ;;
    esac
}

# Train unless it is done, then measure the best checkpoint on the split that the spec names (test, unless it says another).
train_and_test() {
    begin
    set -f # OVERRIDES is a list of words, and no pattern for files
    # shellcheck disable=SC2086
    set -- ${OVERRIDES:-} "$@"
    set +f
    trained_here "$@"
}

trained_here() {
    for word; do
        case $word in train.out=*) die "$word: say OUT=FOLDER instead, where this script looks for what it trained" ;; esac
    done
    set -- "train.out=$out" "$@"
    case $name in *_shapes_*) "$mplug2" data make-shapes data/shapes ;; esac

    if [ -f "$out/trained" ]; then
        began=$(cat "$out/trained")
        [ -z "$checkpoint" ] || [ "$(absolute "$checkpoint")" = "$began" ] ||
            die "$out is trained already, from ${began:-other weights}: for CHECKPOINT=$checkpoint choose another folder, such as OUT=runs/again"
        say "trained already: $out (to start anew: rm -r '$out', or choose another folder: OUT=runs/again)"
    else
        start_from "$@"
        # a later call must not train again, but one after an interruption must
        mkdir -p "$out" && printf '%s\n' "${checkpoint:+$(absolute "$checkpoint")}" >"$out/trained"
    fi

    best=$(best_of "$out")
    launch eval "$config" --checkpoint "$best" ${SPLIT:+--split "$SPLIT"} --out "$predictions" "$@"
    say "next: .venv/bin/mplug2 ${use:-predict} $(quoted "$config") --checkpoint $(quoted "$best") $ask"
}

best_of() { if [ -e "$1/best" ]; then say "$1/best"; else say "$1/last"; fi; }

absolute() { case $1 in /*) say "$1" ;; *) say "$project/$1" ;; esac; }

# A word as a shell reads it back.
quoted() {
    case $1 in
        *[!A-Za-z0-9_./=:@%+,-]*) printf "'%s'\n" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

# Train, from the checkpoint if there is one; an interrupted run goes on where it ended.
start_from() {
    if [ -z "$checkpoint" ]; then
        if [ "$config" != "$tiny" ] || [ -z "${first:-}" ]; then
            launch train "$config" --resume "$@"
            return
        fi
        checkpoint=$(first_trained)
    fi
    [ -e "$checkpoint" ] || die "CHECKPOINT=$checkpoint must be a file or a folder, but there is none"
    case $checkpoint:$name in
        *.pth:*_mplug_* | *.pt:*_mplug_* | *.bin:*_mplug_*) release=mplug ;;
        *.pth:* | *.pt:* | *.bin:*) release=mplug2 ;;
        *) release=own ;;
    esac
    launch train "$config" --resume --init "*=$release:$checkpoint" "$@"
}

# The best checkpoint of the tiny network of the script `first`, which is run if it has not been.
first_trained() {
    run=runs/$(basename -- "$(sed -n 's/^tiny=//p' "scripts/$first")" .yaml)
    [ -f "$run/trained" ] || (unset OUT OVERRIDES CONFIG SPLIT PREDICTIONS && sh "scripts/$first" >&2)
    best_of "$run"
}

# Measure a checkpoint; of the tiny network its own best, and it is trained first if it has not been.
measure() {
    begin
    set -f
    # shellcheck disable=SC2086
    set -- ${OVERRIDES:-} "$@"
    set +f
    if [ -z "$checkpoint" ]; then
        [ "$config" = "$tiny" ] || die "CHECKPOINT= must name the weights to measure, such as runs/$name/best"
        if [ ! -f "$out/trained" ]; then
            trained_here "$@"
            return
        fi
        checkpoint=$(best_of "$out")
    fi
    launch eval "$config" --checkpoint "$checkpoint" ${SPLIT:+--split "$SPLIT"} --out "$predictions" "$@"
}
