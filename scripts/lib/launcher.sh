# shellcheck shell=sh
# Sourced by the scripts of all tasks. A script sets these variables, then calls `run train_and_test` or `run evaluate`:
#   tiny=SPEC          used if neither CONFIG nor CHECKPOINT is given: a small network on the generated shapes data
#   finetuned=SPEC     optional: used if only CHECKPOINT is given
#   pretrained=SPEC    optional: the spec whose trained network initializes `tiny`; it is trained first if necessary
#   example=COMMAND    optional: the mplug2 command suggested after training (default: predict)
#   inputs=OPTIONS     the options of that command
#   note=TEXT          optional: what other data the task takes, printed after training on generated data
# The settings for users (CONFIG, CHECKPOINT, OUT ...) are described in scripts/README.md.
. "$(dirname -- "$0")/lib/project.sh"

tiny='' finetuned='' pretrained='' example=predict inputs='' note=''
caller_folder=$PWD # relative paths in the settings start here
mplug2=$venv/bin/mplug2

# The format of released weights for a spec, by the family in the name of the spec. A new family is one more line.
release_format() {
    case $1 in
        *_mplug_*) say mplug ;;
        *_uniter_*) say uniter ;;
        *_timix_*) say timix ;;
        *vlmo_*) say vlmo ;;
        clip_*) say clip ;;
        *) say mplug2 ;;
    esac
}

# The format of initial weights: a Hugging Face folder is a BERT.
weights_format() {
    case $1 in
        *.pth | *.pt | *.bin) release_format "$name" ;;
        *) if [ -f "$1/config.json" ]; then say bert; else say checkpoint; fi ;;
    esac
}

# Call train_and_test or evaluate with the words of OVERRIDES and with the arguments, all of them overrides of the spec.
run() {
    action=$1
    shift
    read_settings
    set -f # the words are no file patterns
    # shellcheck disable=SC2086
    set -- ${OVERRIDES:-} "$@"
    set +f
    "$action" "$@"
}

# Train unless that is done, evaluate the best checkpoint, and suggest the next command.
train_and_test() {
    train_then_evaluate "$@"
    [ "$config" != "$tiny" ] || [ -z "$note" ] || say "$note"
    say "next: .venv/bin/mplug2 $example $(quoted "$config") --checkpoint $(quoted "$best") $inputs"
}

# Evaluate CHECKPOINT; without it the best checkpoint of the tiny network, which is trained first if necessary.
evaluate() {
    if [ -z "$checkpoint" ]; then
        [ "$config" = "$tiny" ] || die "CHECKPOINT= must name the weights to evaluate, such as runs/$name/best"
        if [ ! -f "$out/trained" ]; then
            train_and_test "$@"
            return
        fi
        checkpoint=$(best_checkpoint "$out")
    fi
    evaluate_checkpoint "$checkpoint" "$@"
}

# Set config, name, checkpoint, out and predictions from the settings, and change to the project folder.
read_settings() {
    sh "$project/scripts/setup.sh"
    config=$tiny
    [ -z "${CHECKPOINT:-}" ] || config=${finetuned:-$tiny}
    [ -z "${CONFIG:-}" ] || config=$(input_path "$CONFIG")
    name=$(basename -- "$config")
    name=${name%.*}
    HOSTFILE=${HOSTFILE:+$(input_path "$HOSTFILE")}
    checkpoint=${CHECKPOINT:+$(input_path "$CHECKPOINT")}
    out=$(output_path "${OUT:-}" "runs/$name")
    predictions=$(output_path "${PREDICTIONS:-}" "$out/predictions/${SPLIT:-measured}.jsonl")
    cd "$project"
    [ -f "$config" ] || die "CONFIG=$config must be a spec, but there is no such file"
}

# An existing path, relative to the project folder or absolute.
input_path() {
    case $1 in
        /*) say "$1" ;;
        *) if [ "$caller_folder" != "$project" ] && [ -e "$caller_folder/$1" ]; then say "$caller_folder/$1"; else say "$1"; fi ;;
    esac
}

# A path to write to, relative to the project folder or absolute: the first argument, or the second if it is empty.
output_path() {
    case $1 in
        '') say "$2" ;;
        /*) say "$1" ;;
        *) if [ "$caller_folder" = "$project" ]; then say "$1"; else say "$caller_folder/$1"; fi ;;
    esac
}

absolute() { case $1 in /*) say "$1" ;; *) say "$project/$1" ;; esac; }

best_checkpoint() { if [ -e "$1/best" ]; then say "$1/best"; else say "$1/last"; fi; }

# Quote a word for the shell.
quoted() {
    case $1 in
        *[!A-Za-z0-9_./=:@%+,-]*) printf "'%s'\n" "$(say "$1" | sed "s/'/'\\\\''/g")" ;;
        *) say "$1" ;;
    esac
}

train_then_evaluate() {
    for word; do
        case $word in train.output_dir=*) die "$word: use OUT=FOLDER instead, so that this script knows where the trained network is" ;; esac
    done
    set -- "train.output_dir=$out" "$@"
    case $name in *_shapes_*) "$mplug2" data make-shapes data/shapes ;; esac

    if [ -f "$out/trained" ]; then
        initial=$(cat "$out/trained")
        [ -z "$checkpoint" ] || [ "$(absolute "$checkpoint")" = "$initial" ] ||
            die "$out is already trained, from ${initial:-other weights}: for CHECKPOINT=$checkpoint choose another folder, such as OUT=runs/again"
        say "already trained: $out (to train again: rm -r '$out', or choose another folder: OUT=runs/again)"
    else
        train "$@"
        # written last: an interrupted run must be resumed, a finished one must not be trained again
        mkdir -p "$out"
        say "${checkpoint:+$(absolute "$checkpoint")}" >"$out/trained"
    fi

    best=$(best_checkpoint "$out")
    evaluate_checkpoint "$best" "$@"
}

# Train or resume, initialized from the checkpoint if there is one.
train() {
    if [ -z "$checkpoint" ] && [ "$config" = "$tiny" ] && [ -n "$pretrained" ]; then
        run=runs/$(basename -- "$pretrained" .yaml)
        [ -f "$run/trained" ] || train_pretrained
        checkpoint=$(best_checkpoint "$run")
    fi
    if [ -z "$checkpoint" ]; then
        launch train "$config" --resume "$@"
        return
    fi
    [ -e "$checkpoint" ] || die "CHECKPOINT=$checkpoint must be a file or a folder, but there is none"
    launch train "$config" --resume --init "*=$(weights_format "$checkpoint"):$checkpoint" "$@"
}

# Train the network that `tiny` starts from, with none of the settings of this run.
train_pretrained() (
    unset CONFIG CHECKPOINT OUT OVERRIDES SPLIT PREDICTIONS
    tiny=$pretrained pretrained=''
    read_settings
    train_then_evaluate
)

evaluate_checkpoint() {
    weights=$1
    shift
    launch eval "$config" --checkpoint "$weights" ${SPLIT:+--split "$SPLIT"} --out "$predictions" "$@"
}

# Run mplug2 in one process, or in those that GPUS, HOSTFILE or NNODES ask for.
launch() {
    if [ -n "${NNODES:-}" ]; then
        [ -n "${MASTER_ADDR:-}" ] || die "NNODES=$NNODES also needs MASTER_ADDR=, the host name of the first machine"
        "$venv/bin/torchrun" --nnodes "$NNODES" --node_rank "${NODE_RANK:-0}" --nproc_per_node "${GPUS:-1}" \
            --master_addr "$MASTER_ADDR" --master_port "${MASTER_PORT:-29500}" -m mplug2 "$@"
    elif [ -n "${HOSTFILE:-}" ]; then
        [ -f "$HOSTFILE" ] || die "HOSTFILE=$HOSTFILE must be a file of lines such as 'worker-1 slots=8', but there is none"
        "$venv/bin/deepspeed" --hostfile "$HOSTFILE" ${GPUS:+--num_gpus "$GPUS"} --module mplug2 "$@"
    elif [ -n "${GPUS:-}" ]; then
        "$venv/bin/deepspeed" --num_gpus "$GPUS" --module mplug2 "$@"
    else
        "$mplug2" "$@"
    fi
}
