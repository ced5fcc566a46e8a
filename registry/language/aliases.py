"""The one table of old names: words of specs, of the command line and of state dicts, with the new ones.

Old words are read for a release, with a warning that names the new word. `mplug2 migrate` rewrites them.
Reading is in `renames.py`; this file holds the words alone.
"""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, str]  # old name: new name

# What a flow line calls.
OPERATIONS: Words = {
    "fetch": "gather_rows",
    "rank": "rank_answers",
    "rescore": "score_sequences",
    "sample": "sample_search",
    "locate": "box_search",
    "box_tokens": "encode_boxes",
    "tokens_box": "decode_boxes",
}

_SEARCH_TOKENS = {"start": "bos_token_id", "end": "eos_token_id"}
# Ports and options of operations, by the new name of the operation.
KEYWORDS: Mapping[str, Words] = {
    "beam_search": {
        "beams": "num_beams",
        "best": "num_return_sequences",
        "groups": "num_beam_groups",
        "diversity": "diversity_penalty",
        "penalty": "length_penalty",
        **_SEARCH_TOKENS,
    },
    "greedy_search": _SEARCH_TOKENS,
    "sample_search": _SEARCH_TOKENS,
    "rank_answers": {"keep": "top_k"},
    "score_sequences": {"penalty": "length_penalty", "end": "eos_token_id"},
    "decode_boxes": {"found": "sequences"},
    "lm_loss": {"skip": "ignore_first", "mean": "reduction", "owner": "question_index"},
    "token_loss": {"skip": "ignore_first"},
    "self_critical": {"against": "baseline_mode"},
}

# Values of options, by operation and new name of the option.
VALUES: Mapping[tuple[str, str], Words] = {
    ("lm_loss", "reduction"): {"sequences": "per_sequence", "words": "per_token"},
}

_TEXT_SIZES = {"vocab": "vocab_size", "positions": "max_positions"}
# Arguments of modules, by what the module uses.
ARGUMENTS: Mapping[str, Words] = {
    "text_embedding": _TEXT_SIZES,
    "text_decoder": _TEXT_SIZES,
}

# Keys of the settings sections. Those of `eval` are also keys of each named evaluation.
SETTINGS: Mapping[str, Words] = {
    "train": {
        "batch": "batch_size",
        "steps": "max_steps",
        "accumulate": "grad_accumulation_steps",
        "clip": "max_grad_norm",
        "keep": "keep_last",
        "out": "output_dir",
        "select": "best_metric",
    },
    "eval": {"batch": "batch_size"},
    "data": {"max_bad": "max_bad_fraction"},
}
# Arguments of sources, which are keys of `data`, in its sources and in their splits.
SOURCE_ARGUMENTS: Words = {"quarantine": "exclude_list"}

# What the tasks supply. An input is renamed if a task of the spec supplies the new name, and not the old one.
INPUTS: Words = {
    "clip": "video_index",
    "picture": "image_index",
    "owner": "question_index",
    "vote": "answer_weight",
    "group": "media_id",
}

# Sources of `init`: the word before the colon.
WEIGHT_SOURCES: Words = {"own": "checkpoint"}

# Modules of the shipped specs. They begin the keys of state dicts, so old checkpoints are read by this.
SHIPPED_MODULES: Words = {
    "words": "text_embedding",
    "to_v": "vision_proj",
    "to_t": "text_proj",
    "bank": "feature_queue",
    "match": "itm_head",
    "mine": "hard_negatives",
    "judge": "reward",
}

# Streams of the shipped specs. `mplug2 migrate` renames them in specs that extend a shipped one.
SHIPPED_STREAMS: Words = {
    "spoken": "text_embeds",
    "read": "text_encoded",
    "asked": "text_hidden",
    "patches": "vision_encoded",
    "visual": "vision_hidden",
    "seen": "vision_per_text",
    "both": "fused",
    "evidence": "memory_per_answer",
    "guess": "generated",
    "v": "vision_features",
    "t": "text_features",
    "stored": "queue",
    "hard": "negatives",
    "v3": "pair_vision",
    "t3": "pair_text",
    "pairs": "pair_fused",
    "verdict": "match_logits",
    "score": "rerank_logits",
    "one": "rerank_fused",
    "found": "box_sequence",
    "where": "predicted_box",
    "tries": "samples",
    "gained": "rewards",
    "said": "scored_samples",
}

# Options of the command line, by command.
COMMAND_OPTIONS: Mapping[tuple[str, ...], Words] = {
    ("data", "prepare"): {"--hold-out": "--val-fraction", "--replace": "--overwrite"},
    ("data", "check"): {"--quarantine": "--exclude-list"},
    ("predict",): {"--list": "--files-from"},
    ("eval",): {"--results": "--submission"},
}


def module_names(present: Mapping[str, object], stored: set[str]) -> dict[str, str]:
    """Return old and new name of each module of a network whose weights a file stores by the old name.

    ``present``: the modules of the network. ``stored``: the modules of the file.
    """
    names = {}
    for old, new in SHIPPED_MODULES.items():
        # Only where nothing else has either name: a user's module may have an old one.
        if (
            old in stored
            and new not in stored
            and new in present
            and old not in present
        ):
            names[old] = new
    return names


def command_line(words: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the words of a command line with new options, and each old option with its new name."""
    renamed = list(words)
    changes: list[tuple[str, str]] = []
    commands = [word for word in words if not word.startswith("-")]
    for command, options in COMMAND_OPTIONS.items():
        if tuple(commands[: len(command)]) != command:
            continue
        for index, word in enumerate(words):
            option, equals, value = word.partition("=")
            if option in options:
                renamed[index] = options[option] + equals + value
                changes.append((option, options[option]))
    return renamed, changes
