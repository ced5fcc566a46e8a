"""Classes of images and videos: ImageNet's lists, Kinetics, Something-Something v2, UCF101, HMDB51."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mplug2.data.class_list import read_class_list
from mplug2.data.formats.entry import Row
from mplug2.data.formats.files import json_entries, lines, table
from mplug2.data.rows import media_name, shown
from registry.errors import UserError

_HMDB51 = """
brush_hair cartwheel catch chew clap climb climb_stairs dive draw_sword dribble drink eat fall_floor fencing
flic_flac golf handstand hit hug jump kick kick_ball kiss laugh pick pour pullup punch push pushup
ride_bike ride_horse run shake_hands shoot_ball shoot_bow shoot_gun sit situp smile smoke somersault stand
swing_baseball sword sword_exercise talk throw turn walk wave
"""
HMDB51 = tuple(_HMDB51.split())


def kinetics(path: Path) -> Iterator[Row]:
    """Yield ``{"video_id": ID_START_END, "label"}`` of a table of DeepMind.

    Its columns are label, youtube_id, time_start, time_end, split. Names are those of the usual downloads:
    seconds with six digits. A test table may have no labels.
    """
    for entry in table(path, ","):
        start, end = entry.whole("time_start"), entry.whole("time_end")
        name = f"{entry.text('youtube_id')}_{start:06d}_{end:06d}"
        row: Row = {"video_id": media_name(name, entry.where)}
        if entry.has("label"):
            row["label"] = entry.text("label")
        yield row


def something(path: Path) -> Iterator[Row]:
    """Yield ``{"video_id", "label"}`` of Something-Something v2; the label is the template without brackets
    (``Holding something next to something``), as in its ``labels.json``. Test entries have none."""
    for entry in json_entries(path):
        row: Row = {"video_id": media_name(str(entry.id("id")), entry.where)}
        if entry.has("template"):
            row["label"] = entry.text("template").replace("[", "").replace("]", "")
        yield row


def ucf101(path: Path) -> Iterator[Row]:
    """Yield ``{"video_id": CLASS/NAME, "label": CLASS}`` of lines ``CLASS/NAME.avi``, a number may follow."""
    for location, line in lines(path):
        name = media_name(line.split()[0], location)
        label, slash, _ = name.partition("/")
        if not slash or not name.endswith(".avi"):
            raise UserError(
                f"{location}: a line must be CLASS/NAME.avi (got {shown(line)})"
            )
        yield {"video_id": name.removesuffix(".avi"), "label": label}


def hmdb51(*paths: Path, mark: str, ending: str) -> Iterator[Row]:
    """Yield ``{"video_id": CLASS/NAME, "label": CLASS}`` of the lines ``NAME.avi MARK`` with this ``mark``: 1
    is training, 2 test, 0 neither. Each class has a file, named by the class and ``ending``."""
    for path in paths:
        label = path.name.removesuffix(".gz").removesuffix(ending)
        for location, line in lines(path):
            name, _, number = line.rpartition(" ")
            if number not in ("0", "1", "2"):
                raise UserError(
                    f"{location}: a line must be NAME.avi and 0, 1 or 2 (got {shown(line)})"
                )
            if number == mark:
                video = media_name(
                    f"{label}/{name.strip().removesuffix('.avi')}", location
                )
                yield {"video_id": video, "label": label}


def imagenet_solution(path: Path) -> Iterator[Row]:
    """Yield ``{"image", "label": synset}`` of the validation table ``ImageId,PredictionString``, whose second
    column is a synset and a box, repeated."""
    for entry in table(path, ","):
        synset, *_ = entry.text("PredictionString").split(" ")
        image = media_name(f"{entry.text('ImageId')}.JPEG", entry.where)
        yield {"image": image, "label": synset}


def imagenet_numbers(path: Path, synsets: Path) -> Iterator[Row]:
    """Yield ``{"image", "label": synset}`` of lines ``NAME.JPEG NUMBER``: the number of a line of the list of
    synsets, from 0."""
    names = list(read_class_list(synsets))
    for location, line in lines(path):
        image, _, number = line.rpartition(" ")
        if not number.isdecimal() or int(number) >= len(names):
            raise UserError(
                f"{location}: a line must be NAME.JPEG and a number from 0 to {len(names) - 1} "
                f"(got {shown(line)})"
            )
        yield {
            "image": media_name(image.strip(), location),
            "label": names[int(number)],
        }
