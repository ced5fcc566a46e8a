"""Images and videos with classes: one class each, or several labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from mplug2.data.arguments import ArgumentError
from mplug2.data.batch import Sample
from mplug2.data.class_list import read_class_list
from mplug2.data.labelled_media import LabelledMedia, LabelReader
from mplug2.data.media.class_augmentation import ClassAugmentation, checked_scale
from mplug2.data.media.class_views import ClassViews
from mplug2.data.media.folder import MediaFolder, media_views
from mplug2.data.media.mixing import BatchMixing
from mplug2.data.media.transforms import CROP_SCALE
from registry.errors import UserError

if TYPE_CHECKING:
    from registry import StreamType

# Separates the random numbers that mix a batch from those that augment its files.
_MIX_STREAM = 3


class MediaClassTask:
    """Images or videos with the names of their classes.

    ``path`` is a folder with a folder of files for each class; or a .csv, .tsv or .jsonl file whose rows name
    a file (``video_id`` or ``image``, or ``media_field``) and its label, or a list of labels
    (``label_field``; ``separator`` splits a text into several). The classes, in the order of the network's
    outputs, are ``labels``, a list or a mapping from labels in the data to names, or the lines of
    ``labels_file``. The input ``label`` is the number of the only class, ``targets`` has 1 for each label and
    0 for the other classes.

    In training, ``sampling`` chooses frames (``dense``: every ``frame_stride``-th of a random part), crops
    cover ``crop_scale`` of the area, ``rand_augment_level`` replaces the strength of `augment: full`,
    ``erase`` is the probability that a random box is erased, and ``mixup`` and ``cutmix`` mix a batch with
    itself in reverse order (parameters of a Beta distribution; 0: never). At test a file has ``clips`` x
    ``crops`` views, whose probabilities are averaged: see `ClassViews`.
    """

    outputs = {
        "video": "frames B 3 T H W",
        "image": "image B 3 H W",
        "label": "labels B",
        "targets": "scores B classes",
    }
    query_input = None
    class_names = {"label": "labels"}
    file_arguments = ("labels_file",)
    reads_folders = True

    def __init__(
        self,
        labels: list[str] | dict[str, str] | None = None,
        labels_file: str | None = None,
        media_field: str | None = None,
        label_field: str = "label",
        separator: str | None = None,
        sampling: Literal["uniform", "dense"] = "uniform",
        frame_stride: int = 1,
        clips: int = 1,
        crops: Literal[0, 1, 3] = 0,
        crop_fraction: float = 1.0,
        crop_scale: list[float] | None = None,
        rand_augment_level: int | None = None,
        flip: Literal["none", "media"] = "none",
        erase: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        training: bool = False,
        types: Mapping[str, StreamType] | None = None,
        inputs: Collection[str] | None = None,
    ) -> None:
        names = _class_names(labels, labels_file)
        self.classes = list(dict.fromkeys(names.values()))
        self._numbers = {name: number for number, name in enumerate(self.classes)}
        self.training = training
        self.reader = LabelReader(
            names, media_field, label_field, separator, required=training
        )
        views = media_views(self.outputs, types or {}, inputs)
        if len(views) != 1:
            raise UserError(
                "a network of classes must read one of the inputs 'video' and 'image' "
                f"(got {' and '.join(views) or 'none'})"
            )
        (self.view,) = views
        self.kind = "frames" if self.view == "video" else "image"
        self.views = ClassViews(sampling, frame_stride, clips, crops, crop_fraction)
        self.augmentation = ClassAugmentation(
            CROP_SCALE if crop_scale is None else checked_scale(crop_scale),
            rand_augment_level,
            flip == "media",
            erase,
        )
        self.mixing = BatchMixing(mixup, cutmix)
        if training and self.mixing.active and "label" in (inputs or ()):
            raise ArgumentError(
                "mixup" if mixup else "cutmix",
                "mixed media have no single class: a spec with mixup or cutmix must read 'targets', but "
                "reads 'label'",
            )
        # All views of a file are decoded together.
        self.items_per_sample = 1 if training else self.views.number

    def read(self, path: Path) -> list[LabelledMedia]:
        """Return the items of a folder of classes, or of a table or JSON lines, one for each view."""
        if path.is_dir():
            items = self.reader.folder(path, self.kind)
        else:
            items = self.reader.rows(path)
        if self.items_per_sample == 1:
            return list(items)
        # At test each view is an item, whose probabilities are averaged over the file.
        views = []
        for item in items:
            for view in range(self.items_per_sample):
                views.append(replace(item, view=view))
        return views

    def media(self, item: LabelledMedia) -> tuple[str, ...]:
        """Return the name of the file of an item."""
        return (item.name,) if item.name else ()

    def question(self, text: str) -> LabelledMedia:
        """Return an item without a class, for prediction; the text is not used."""
        return LabelledMedia(0, "", (), self.views.middle)

    def decode(
        self,
        media: MediaFolder,
        name: str,
        items: Sequence[LabelledMedia],
        rng: np.random.Generator,
    ) -> tuple[Tensor, None]:
        """Return the views of a file that some items mean, [views 3 ...]: in training one, augmented."""
        if self.training:
            return self.augmentation.read(media, name, self.views, rng)[None], None
        return self.views.read(media, name, [item.view for item in items]), None

    def encode(
        self, items: Sequence[LabelledMedia], samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """Return the media, one row for each view, and their classes if all items have some."""
        media = torch.cat([_rows_of(sample) for sample in samples])
        if not all(item.labels for item in items):
            return {self.view: media}
        if self.training and self.mixing.active:
            request = samples[0].request
            # Drawn once for a batch: all its rows are mixed with the same weight.
            rng = np.random.default_rng([*request.seed, request.items[0], _MIX_STREAM])
            media, targets = self.mixing(media, self._targets(items), rng)
            return {self.view: media, "targets": targets}
        return {
            self.view: media,
            "label": lambda: self._label(items),
            "targets": lambda: self._targets(items),
        }

    def _label(self, items: Sequence[LabelledMedia]) -> Tensor:
        for item in items:
            if len(item.labels) != 1:
                raise UserError(
                    f"the input 'label' needs one class for each file (got {', '.join(item.labels)} for "
                    f"{item.name}). Read the input 'targets' in the spec"
                )
        return torch.tensor([self._numbers[item.labels[0]] for item in items])

    def _targets(self, items: Sequence[LabelledMedia]) -> Tensor:
        targets = torch.zeros(len(items), len(self.classes))
        for row, item in enumerate(items):
            for label in item.labels:
                targets[row, self._numbers[label]] = 1.0
        return targets

    def record(
        self, item: LabelledMedia, sample: Sample | None = None
    ) -> dict[str, Any]:
        """Return what evaluation and metrics know of an item."""
        key = "video_id" if self.view == "video" else "image"
        record: dict[str, Any] = {"question_id": item.id, key: item.name}
        record |= {"answers": list(item.labels), "classes": self.classes}
        if self.items_per_sample > 1:
            record["view"] = item.view
        return record

    def counts(self, items: Sequence[LabelledMedia]) -> dict[str, int]:
        """Return how many files each class has, for `mplug2 data check`."""
        numbers: Counter[str] = Counter()
        for item in items:
            # The views of a file are one file.
            if item.view == 0:
                numbers.update(item.labels or ["without a label"])
        return dict(numbers)


def _rows_of(sample: Sample) -> Tensor:
    """Return the views of a sample; the black stand-in of a file that cannot be decoded, once for each."""
    if sample.failure is None:
        return sample.views[0]
    return sample.views[0].expand(len(sample.items), *sample.views[0].shape)


def _class_names(
    labels: list[str] | dict[str, str] | None, labels_file: str | None
) -> dict[str, str]:
    """Return the name of the class of each label in the data; ArgumentError for a wrong list."""
    if (labels is None) == (labels_file is None):
        raise ArgumentError(
            "labels",
            "the classes must be set by labels or by labels_file, by one of them. Set data.labels",
        )
    if labels_file is not None:
        return read_class_list(Path(labels_file))
    # One of the two is set, as checked above.
    assert labels is not None
    names = labels if isinstance(labels, dict) else {label: label for label in labels}
    if len(set(names.values())) < 2 or len(names) != len(labels):
        raise ArgumentError(
            "labels", f"labels must be two or more different names, but are {labels}"
        )
    return names
