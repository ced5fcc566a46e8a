# shellcheck shell=sh
# Sourced by run_vlmo.sh: turns the words of the official command (`run.py with ...`) into settings of the launcher and
# overrides of the spec, which replace the arguments of the script. Other words stay: they are overrides.

# The spec of a task of the official code.
vlmo_spec() {
    task=${1#task_}
    size=base
    case $task in *_base_plus*) size=base_plus ;; *_large*) size=large ;; esac
    case $task in
        textmlm_*) say "configs_text/vlmo_textmlm_$size.yaml" ;;
        mlm_itm_itc_*) say "configs_image/vlmo_pretrain_$size.yaml" ;;
        finetune_nlvr2_*) say "configs_image/nlvr2_vlmo_$size.yaml" ;;
        finetune_vqa_*) say "configs_image/vqa_vlmo_$size.yaml" ;;
        finetune_irtr_coco_*) say "configs_image/retrieval_coco_vlmo_$size.yaml" ;;
        finetune_irtr_f30k_*) say "configs_image/retrieval_flickr30k_vlmo_$size.yaml" ;;
        *) die "$1: has no spec here. Tasks: task_textmlm_SIZE, task_mlm_itm_itc_SIZE, task_finetune_vqa_SIZE_image480, task_finetune_nlvr2_SIZE_image384, task_finetune_irtr_coco_SIZE_image384, task_finetune_irtr_f30k_SIZE_image384, with SIZE base, base_plus or large" ;;
    esac
}

# The overrides of a task whose spec is for another resolution.
vlmo_size() {
    case $1 in
        *_image384 | *_image480 | *_textmlm_* | *_mlm_itm_itc_*) ;;
        *) say "modules.image_embedding.size=224 modules.lower.size=224 modules.upper.size=224" ;;
    esac
}

vlmo_words=''
# shellcheck disable=SC2034  # the launcher reads these settings
for word; do
    shift
    value=${word#*=}
    case $word in
        with) ;;
        task_*)
            CONFIG=$(vlmo_spec "$word") || exit 1
            vlmo_words="$vlmo_words $(vlmo_size "$word")"
            ;;
        step200k) vlmo_words="$vlmo_words train.max_steps=200000 train.warmup=2500" ;;
        num_gpus=*) GPUS=$value ;;
        num_nodes=1) ;;
        num_nodes=*) NNODES=$value ;;
        per_gpu_batchsize=*) vlmo_words="$vlmo_words train.micro_batch=$value" ;;
        load_path=*) CHECKPOINT=$value ;;
        log_dir=*) OUT=$value ;;
        whole_word_masking=[Tt]rue | get_recall_metric=* | test_only=[Ff]alse) ;;
        whole_word_masking=*) vlmo_words="$vlmo_words modules.word_masking.whole_words=false" ;;
        test_only=*) train_and_test() { evaluate "$@"; } ;;
        data_root=*) say "data_root: the specs name the files of images and annotations; a source with arrow: reads ARROW tables (docs/data.md)" ;;
        *) set -- "$@" "$word" ;;
    esac
done
# shellcheck disable=SC2086
set -- $vlmo_words "$@"
if [ -n "${CONFIG:-}" ]; then say "spec: $CONFIG${vlmo_words:+, settings:$vlmo_words}"; fi
