"""mplug2: modules, composed by one YAML file into networks for text, image and video.

Importing this package imports neither torch nor anything else that is slow: public names are looked up when
used.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mplug2.import_guard import check_neighbours

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
check_neighbours(os.path.dirname(_PACKAGE))

import modules  # noqa: E402, F401  (fills the names of modules and operations)
from mplug2.shipped_specs import spec_folder  # noqa: E402
from registry import (  # noqa: E402
    ENGINES,
    EVALUATORS,
    KEY_MAPS,
    LOGGERS,
    METRICS,
    MODULES,
    OPTIMIZERS,
    SOURCES,
    SPEC_FOLDERS,
    TASKS,
    TOKENIZERS,
)

if TYPE_CHECKING:
    from mplug2.build.compose import compose as compose
    from mplug2.data.batch import Batch as Batch
    from mplug2.data.build import build_eval_loader as build_eval_loader
    from mplug2.data.build import build_loader as build_loader
    from mplug2.eval.evaluation import evaluate as evaluate
    from mplug2.network import Network as Network
    from mplug2.predict.finished import load as load
    from mplug2.predict.pipeline import pipeline as pipeline
    from mplug2.train.run import fit as fit
    from mplug2.train.run import train as train
    from registry import Spec as Spec
    from registry import SpecError as SpecError
    from registry import UserError as UserError
    from registry import check as check
    from registry import read_spec as read_spec
    from registry.training import training_plan as training_plan

__version__ = "0.1.0"

SPEC_FOLDERS.append(spec_folder(_PACKAGE))

TASKS.register(
    "question_answer", "mplug2.data.tasks.question_answer:QuestionAnswerTask"
)
TASKS.register("caption", "mplug2.data.tasks.caption:CaptionTask")
TASKS.register("grounding", "mplug2.data.tasks.grounding:GroundingTask")
TASKS.register("region_phrases", "mplug2.data.tasks.region_phrases:RegionPhrasesTask")
TASKS.register("media_class", "mplug2.data.tasks.media_class:MediaClassTask")
TASKS.register("retrieval", "mplug2.data.tasks.caption:RetrievalTask")
TASKS.register("plain_text", "mplug2.data.tasks.plain_text:PlainTextTask")
TASKS.register(
    "pretrain_caption", "mplug2.data.tasks.pretrain_caption:PretrainCaptionTask"
)
TASKS.register("text_class", "mplug2.data.tasks.text_class:TextClassTask")
TASKS.register("text_value", "mplug2.data.tasks.text_value:TextValueTask")
TASKS.register("text_label", "mplug2.data.tasks.text_label:TextLabelTask")
SOURCES.register("path", "mplug2.data.sources.files:FileSource")
SOURCES.register("arrow", "mplug2.data.sources.arrow:ArrowSource")
SOURCES.register("shards", "mplug2.data.sources.shards:ShardSource")
SOURCES.register("text_file", "mplug2.data.sources.text_file:TextFileSource")
SOURCES.register("items", "mplug2.data.sources.items:ItemSource")
MODULES.register("cider_d", "mplug2.objectives.cider_d:CiderReward")
ENGINES.register("deepspeed", "mplug2.train.engines.deepspeed:DeepSpeedEngine")
ENGINES.register("torch", "mplug2.train.engines.torch:TorchEngine")
OPTIMIZERS.register("adamw", "mplug2.train.optimizers.factories:adamw")
OPTIMIZERS.register("uniter_adamw", "mplug2.train.optimizers.uniter_adamw:uniter_adamw")
OPTIMIZERS.register("sgd", "mplug2.train.optimizers.factories:sgd")
OPTIMIZERS.register("lion", "mplug2.train.optimizers.factories:lion")
OPTIMIZERS.register("adafactor", "mplug2.train.optimizers.factories:adafactor")
OPTIMIZERS.register("muon", "mplug2.train.optimizers.muon:muon")
METRICS.register("accuracy", "mplug2.metrics.accuracy:Accuracy")
METRICS.register("label_accuracy", "mplug2.metrics.accuracy:LabelAccuracy")
METRICS.register("label_f1", "mplug2.metrics.classes:label_f1")
METRICS.register("label_macro_f1", "mplug2.metrics.classes:label_macro_f1")
METRICS.register("matthews", "mplug2.metrics.classes:matthews")
METRICS.register("pearson", "mplug2.metrics.correlation:pearson")
METRICS.register("spearman", "mplug2.metrics.correlation:spearman")
METRICS.register("top_k", "mplug2.metrics.class_ranking:TopK")
METRICS.register(
    "mean_class_accuracy", "mplug2.metrics.class_ranking:MeanClassAccuracy"
)
METRICS.register(
    "mean_average_precision", "mplug2.metrics.class_ranking:mean_average_precision"
)
METRICS.register("bleu4", "mplug2.metrics.caption.metrics:Bleu")
METRICS.register("cider", "mplug2.metrics.caption.metrics:Cider")
METRICS.register("exact_match", "mplug2.metrics.caption.exact:ExactMatch")
METRICS.register("meteor", "mplug2.metrics.caption.metrics:Meteor")
METRICS.register("rouge_l", "mplug2.metrics.caption.metrics:RougeL")
METRICS.register("vqa_accuracy", "mplug2.metrics.vqa:VqaAccuracy")
METRICS.register("vqa_label_accuracy", "mplug2.metrics.vqa:VqaLabelAccuracy")
METRICS.register("iou", "mplug2.metrics.iou:IoU")
METRICS.register("patch_auc", "mplug2.metrics.patch_auc:patch_auc")
METRICS.register("recall", "mplug2.metrics.recall:Recall")
METRICS.register("perplexity", "mplug2.metrics.perplexity:perplexity")
METRICS.register("bits_per_byte", "mplug2.metrics.perplexity:bits_per_byte")
METRICS.register("token_accuracy", "mplug2.metrics.perplexity:token_accuracy")
LOGGERS.register("jsonl", "mplug2.train.loggers:JsonlLogger")
LOGGERS.register("tensorboard", "mplug2.train.loggers:TensorBoardLogger")
LOGGERS.register("trackio", "mplug2.train.trackers:TrackioLogger")
LOGGERS.register("wandb", "mplug2.train.trackers:WandbLogger")
EVALUATORS.register("generation", "mplug2.eval.evaluators.generation:Generation")
EVALUATORS.register(
    "classification", "mplug2.eval.evaluators.classification:Classification"
)
EVALUATORS.register("regression", "mplug2.eval.evaluators.regression:Regression")
EVALUATORS.register("boxes", "mplug2.eval.evaluators.boxes:Boxes")
EVALUATORS.register("patches", "mplug2.eval.evaluators.patches:Patches")
EVALUATORS.register("perplexity", "mplug2.eval.evaluators.perplexity:Perplexity")
EVALUATORS.register("retrieval", "mplug2.eval.evaluators.retrieval:Retrieval")
EVALUATORS.register("zero_shot", "mplug2.eval.evaluators.zero_shot:ZeroShot")
EVALUATORS.register("knn", "mplug2.eval.evaluators.knn:NearestNeighbors")
TOKENIZERS.register("bert", "mplug2.data.text:Tokenizer")
TOKENIZERS.register("bytes", "mplug2.data.byte_tokenizer:ByteTokenizer")
TOKENIZERS.register("clip", "mplug2.data.clip_tokenizer:ClipTokenizer")
KEY_MAPS.register("beit", "mplug2.weights.families.beit:KEY_MAP")
KEY_MAPS.register("bert", "mplug2.weights.families.bert:KEY_MAP")
KEY_MAPS.register("clip", "mplug2.weights.families.clip:KEY_MAP")
KEY_MAPS.register("mplug", "mplug2.weights.families.mplug:KEY_MAP")
KEY_MAPS.register("mplug2", "mplug2.weights.families.mplug2:KEY_MAP")
KEY_MAPS.register("timix", "mplug2.weights.families.timix:KEY_MAP")
KEY_MAPS.register("uniter", "mplug2.weights.families.uniter:KEY_MAP")
KEY_MAPS.register("vlmo", "mplug2.weights.families.vlmo:KEY_MAP")
KEY_MAPS.register("checkpoint", "mplug2.weights.families.checkpoint:KEY_MAP")

_PUBLIC = {
    "compose": "mplug2.build.compose:compose",
    "Network": "mplug2.network:Network",
    "train": "mplug2.train.run:train",
    "fit": "mplug2.train.run:fit",
    "Batch": "mplug2.data.batch:Batch",
    "build_loader": "mplug2.data.build:build_loader",
    "build_eval_loader": "mplug2.data.build:build_eval_loader",
    "training_plan": "registry.training:training_plan",
    "evaluate": "mplug2.eval.evaluation:evaluate",
    "pipeline": "mplug2.predict.pipeline:pipeline",
    "load": "mplug2.predict.finished:load",
    "Spec": "registry:Spec",
    "read_spec": "registry:read_spec",
    "check": "registry:check",
    "SpecError": "registry:SpecError",
    "UserError": "registry:UserError",
}


def _lookup(name: str) -> Any:
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mplug2' has no attribute '{name}'")
    value = _lookup(name)
    return globals().setdefault(
        name, value
    )  # the import may have set a submodule of the same name


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


class _CallableModule(ModuleType):
    """A submodule with the name of a public function: ``mplug2.train(spec)`` calls that function."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return _lookup(self.__name__.rpartition(".")[2])(*args, **settings)


class _Package(ModuleType):
    """The package; a submodule with a public name becomes callable when the import system sets it here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PUBLIC and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
