"""The closed key sets of the settings sections: type, default and meaning of each key.

`data` also takes the arguments of its reader, for all splits, and one mapping of them for each split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from registry.language.declaration import REQUIRED


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a settings section, and its range: from `least`, or more than `above`, to `most`, or less
    than `below`."""

    annotation: str
    default: Any
    meaning: str
    least: float | None = None
    most: float = math.inf
    below: float = math.inf
    above: float = -math.inf


SECTIONS = (
    "inputs",
    "modules",
    "define",
    "flow",
    "goals",
    "momentum",
    "freeze",
    "adapt",
    "init",
    "tie",
    "data",
    "train",
    "eval",
    "extends",
)
SPLITS = ("train", "val", "test")
# what an evaluation hands to an evaluator that asks for it: no key of a spec sets these
EVALUATOR_ARGUMENTS = (
    "net",
    "call",
    "decode",
    "metrics",
    "settings",
    "loader",
    "on_progress",
    "detailed",
)
EVALUATIONS = "evaluations"  # where `Spec.eval` keeps the named evaluations
# what the framework itself passes to a task or source that declares it: no argument of a spec sets these
INJECTED_ARGUMENTS = (
    "inputs",
    "types",
    "tokenizer",
    "split",
    "training",
    "seed",
    "task",
)

# Biases, norms, and the parameters that are added to or multiply activations. The released recipes let class
# tokens, positions and latents decay: their specs set it.
NO_DECAY = (
    "*bias",
    "*norm*.weight",
    "*.cls",
    "*.position",
    "*.latents",
    "*temperature",
)

MOMENTUM = {
    "decay": Key("float", 0.995, "decay of the EMA copies at each iteration", 0, 1),
}
DATA = {
    "task": Key("str | None", None, "the task: how annotated entries become inputs"),
    "kind": Key("str | None", None, "older name of `task`"),
    "sources": Key(
        "dict | None",
        None,
        "named sources: a task with files for each split, or a mixture",
    ),
    "batches": Key(
        "dict | None", None, "named batches: which source feeds the goal of that name"
    ),
    "source": Key(
        "str | None", None, "source of batches and evaluations that name none"
    ),
    "batch_size": Key(
        "int | dict | None",
        None,
        "samples, or {tokens: N}, of an optimizer step over all ranks",
        1,
    ),
    "tokenizer": Key(
        "str | None",
        None,
        "tokenizer: a `vocab.txt`, a folder, a name on the Hugging Face Hub, `bytes`, or `KIND:FILE` such as "
        "`clip:merges.txt`",
    ),
    "workers": Key("int", 2, "worker processes that read samples", 0),
    "max_bad_fraction": Key(
        "float",
        0.01,
        "stop the run if more than this fraction of the files cannot be decoded",
        0,
        1,
    ),
    "seed": Key(
        "int | None", None, "seed of order and sampling. Default: that of `train`", 0
    ),
    "train": Key("dict | None", None, "arguments of task and source for training"),
    "val": Key("dict | None", None, "arguments of task and source for validation"),
    "test": Key("dict | None", None, "arguments of task and source for testing"),
}
# Arguments that tasks and sources of any package share by name: keys of a source, or of `data` for all
# sources. Their ranges are checked here, because an annotation cannot contain them.
SHARED_ARGUMENTS = {
    "image_mean": Key(
        "float | list[float]",
        None,
        "mean of pixels from 0 to 1, one or by colour",
        0,
        1,
    ),
    "image_std": Key(
        "float | list[float]",
        None,
        "deviation of pixels from 0 to 1, one or by colour",
        most=1,
        above=0,
    ),
}
# Means and deviations of pixels: red, green, blue.
COLOURS = 3
TRAIN = {
    "epochs": Key(
        "int | dict", 10, "passes over the training data, or {epochs: N, of: batch}", 1
    ),
    "samples": Key(
        "float | None", None, "at most this many samples of the first batch", 1
    ),
    "micro_batch": Key(
        "int | dict | None",
        None,
        "samples, or {tokens: N}, of a forward pass of a rank; may be by batch",
        1,
    ),
    "iteration": Key(
        "list | None", None, "optimizer steps of an iteration: draw, all or batch"
    ),
    "max_steps": Key("int | None", None, "at most this many iterations", 1),
    "batch_size": Key("int", 4, "samples per rank and micro-batch", 1),
    "grad_accumulation_steps": Key("int", 1, "micro-batches per optimizer step", 1),
    "lr": Key(
        "float | dict[str, float]",
        2e-5,
        "peak learning rate, or {default: rate, pattern: rate}",
        0,
    ),
    "layer_decay": Key(
        "dict[str, float] | None",
        None,
        "{module: factor of the rate from a layer to the one below}",
        0,
        1,
    ),
    "min_lr": Key("float", 1e-6, "learning rate at the end of the schedule", 0),
    "warmup": Key("int", 200, "steps of linear warm-up", 0),
    "warmup_lr": Key(
        "float", 1e-6, "learning rate at the first step of the warm-up", 0
    ),
    "schedule": Key(
        "Literal['cosine', 'constant', 'linear']",
        "cosine",
        "schedule of the learning rate",
    ),
    "optimizer": Key("str | dict", "adamw", "its name, or {name: ..., option: value}"),
    "betas": Key(
        "tuple[float, float]", [0.9, 0.999], "decay of AdamW's two averages", 0, below=1
    ),
    "eps": Key("float", 1e-8, "AdamW's epsilon", 0),
    "weight_decay": Key("float", 0.02, "AdamW's decoupled weight decay", 0),
    "no_decay": Key(
        "list[str]", list(NO_DECAY), "patterns of parameters without weight decay"
    ),
    "max_grad_norm": Key("float", 1.0, "largest gradient norm. 0: no clipping", 0),
    "engine": Key(
        "str", "deepspeed", "engine that runs the steps: deepspeed, torch, or a plug-in"
    ),
    "zero": Key("Literal[0, 1, 2, 3]", 0, "DeepSpeed ZeRO stage"),
    "precision": Key(
        "Literal['fp32', 'bf16', 'fp16']",
        "fp32",
        "number format of the forward and backward pass",
    ),
    "max_skipped": Key(
        "int",
        50,
        "a run ends after so many steps in a row whose gradient is not finite",
        1,
    ),
    "seed": Key("int", 0, "seed of weights, order and dropout", 0),
    "log_every": Key("int", 10, "steps between two lines of the log", 1),
    "eval_every": Key(
        "int | dict", 1, "epochs between two evaluations, or a length: {steps: 500}", 1
    ),
    "save_every": Key(
        "int | dict", 1, "epochs between two checkpoints, or a length: {steps: 500}", 1
    ),
    "async_save": Key(
        "bool",
        False,
        "whether training continues while a checkpoint is written; needs memory for a copy of it",
    ),
    "keep_last": Key("int", 3, "number of newest checkpoints to keep", 1),
    "loggers": Key(
        "list[str]",
        ["jsonl", "tensorboard"],
        "where the numbers of the run are written",
    ),
    "profile": Key(
        "tuple[int, int] | None",
        None,
        "first and last step that torch's profiler records, on rank 0",
        1,
    ),
    "output_dir": Key(
        "str | None", None, "run folder. Default: runs/<name of the spec>"
    ),
    "early_stop": Key(
        "int | None",
        None,
        "a run ends after so many evaluations in a row without a better best_metric",
        1,
    ),
    "best_metric": Key(
        "str | None", None, "name of the metric that selects the best checkpoint"
    ),
}
EVAL = {
    "goal": Key("str", "predict", "the goal whose outputs are measured"),
    "metrics": Key("list[str]", [], "names of metrics"),
    "batch_size": Key(
        "int | None", None, "samples per rank. Default: that of `train`", 1
    ),
    "split": Key("str", "test", "the split that is measured"),
    "source": Key(
        "str | None",
        None,
        "the source that is measured; default: `data.source`, or the first",
    ),
    "evaluator": Key(
        "str | None",
        None,
        "evaluator of the outputs. Default: the one that the metrics need",
    ),
    "rerank": Key(
        "int | None",
        None,
        "number of most similar candidates that the goal `rerank` orders. Default: none",
        1,
    ),
    "rerank_score": Key(
        "Literal['match', 'match_plus_similarity'] | None",
        None,
        "the score that orders them. Default: match",
    ),
    "rerank_batch": Key(
        "int | None", None, "pairs per rank in a batch of re-ranking. Default: 64", 1
    ),
}
SETTINGS: dict[str, dict[str, Key]] = {
    "momentum": MOMENTUM,
    "data": DATA,
    "train": TRAIN,
    "eval": EVAL,
}


def with_defaults(section: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return a section's values with the defaults of the keys that are not given; a required key has none."""
    filled = dict(given)
    for name, key in SETTINGS[section].items():
        if filled.get(name) is None and key.default is not REQUIRED:
            # A copy: a list that one spec changes must not change the default of the next.
            is_list = isinstance(key.default, list)
            filled[name] = list(key.default) if is_list else key.default
    return filled


def with_evaluations(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of `eval` with its named evaluations, keys that hold mappings, under one key."""
    shared: dict[str, Any] = {}
    evaluations: dict[str, Any] = {}
    for name, value in settings.items():
        # An argument of an evaluator cannot be a mapping, so a mapping is an evaluation.
        if isinstance(value, dict) and name not in EVAL:
            evaluations[name] = value
        else:
            shared[name] = value
    return {**shared, EVALUATIONS: evaluations} if evaluations else shared
