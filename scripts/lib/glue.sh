# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154  # variables that both files use
# Sourced by run_glue.sh after launcher.sh: the tasks of GLUE, each trained and tested like a task of its own.

# The folder and the submission of a task as GLUE names them.
glue_name() {
    case $1 in
        cola) say CoLA ;;
        sst2) say SST-2 ;;
        mrpc) say MRPC ;;
        stsb) say STS-B ;;
        qqp) say QQP ;;
        mnli) say MNLI ;;
        qnli) say QNLI ;;
        rte) say RTE ;;
        *) die "TASKS= must name tasks of cola sst2 mrpc stsb qqp mnli qnli rte (got $1)" ;;
    esac
}

# Train every task whose files are there, and print one table; if there are none, train `tiny`.
train_and_tabulate() {
    size=${SIZE:-tiny} trained='' missing=''
    root=$(output_path "${OUT:-}" "runs/glue_$size")
    for task in ${TASKS:-cola sst2 mrpc stsb qqp mnli qnli rte}; do
        title=$(glue_name "$task")
        if [ -f "data/glue/$title/train.tsv" ]; then
            (train_glue_task "$@")
            trained="$trained $task"
        else
            missing="$missing $title"
        fi
    done
    if [ -n "$trained" ]; then print_table; else train_and_test "$@"; fi
    for title in $missing; do
        say "not trained: data/glue/$title/train.tsv is missing (unpack $title.zip of https://gluebenchmark.com/tasks in data/glue)"
    done
}

# Train and measure one task: SEEDS times, or once with predictions for GLUE's server.
train_glue_task() {
    config=configs_text/${task}_$size.yaml name=${task}_$size out=$root/$task
    [ -f "$config" ] || die "SIZE=$size: there is no $config"
    predictions=$out/predictions/val.jsonl
    if [ -n "${SEEDS:-}" ]; then
        train --seeds "$SEEDS" "train.output_dir=$out" "$@"
        return
    fi
    train_then_evaluate "$@"
    case $task in
        mnli)
            submit matched MNLI-m "$@"
            submit matched MNLI-mm "data.test.path=data/glue/MNLI/test_mismatched.tsv" "$@"
            config=configs_text/ax_$size.yaml
            [ ! -f data/glue/AX/AX.tsv ] || submit '' AX "$@"
            ;;
        *) submit '' "$title" "$@" ;;
    esac
}

# Write predictions of the test split as GLUE's server takes them: submit EVALUATION FILE OVERRIDES.
submit() {
    only=$1 file=$out/submission/$2.tsv
    shift 2
    launch eval "$config" --checkpoint "$best" ${only:+--only "$only"} --split test --submission "$file" \
        "train.output_dir=$out" "$@"
}

# Print the values of all trained tasks, and their average.
print_table() {
    set --
    for task in $trained; do set -- "$@" "$root/$task"; done
    "$mplug2" table --average "$@"
}
