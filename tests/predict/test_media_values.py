"""Media in memory: every form gives the answer of the file, in lists and batches, and wrong ones a sentence."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from askable import everything, ready
from PIL import Image

import mplug2
from mplug2.data.media import pixel_file
from mplug2.data.media.image import ImageError, read_image
from mplug2.data.media.pixel_file import PixelFile
from mplug2.data.media.video import read_frames
from mplug2.data.media.video_file import Limits, VideoError, scan_video
from mplug2.predict import media_values
from mplug2.predict.media_values import MediaValues
from mplug2.predict.pipeline import Pipeline
from mplug2.predict.result import Result
from registry import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with everything(tmp_path_factory.mktemp("in_memory")) as folder:
        yield folder


@pytest.fixture(scope="module")
def judge(made: Path) -> Pipeline:
    """A network that reads an image and a sentence."""
    return ready(made, "entailment")


@pytest.fixture(scope="module")
def writer(made: Path) -> Pipeline:
    """A network that reads a video."""
    return ready(made, "caption")


def pixels_of(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def colours_first(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(pixels, -1, -3).copy())


IMAGES: dict[str, Callable[[Path], Any]] = {
    "path": lambda file: file,
    "bytes": lambda file: file.read_bytes(),
    "bytearray": lambda file: bytearray(file.read_bytes()),
    "file object": lambda file: io.BytesIO(file.read_bytes()),
    "an open file": lambda file: file.open("rb"),
    "Pillow": lambda file: Image.open(file),
    "numpy": pixels_of,
    "real numpy": lambda file: pixels_of(file) / 255,
    "tensor": lambda file: colours_first(pixels_of(file)),
    "real tensor": lambda file: (colours_first(pixels_of(file)) / 255).requires_grad_(),
}


@pytest.mark.parametrize("form", IMAGES)
def test_an_image_in_any_form_has_the_answer_of_its_file(
    made: Path, judge: Pipeline, form: str
) -> None:
    file = made / "still0.png"
    expected = judge(file, question="it is red")
    value = IMAGES[form](file)
    found = judge(value, question="it is red")
    if hasattr(value, "close"):
        value.close()
    assert isinstance(expected, Result)
    assert isinstance(found, Result)
    assert found.guesses == expected.guesses
    assert [(look.width, look.height) for look in found.looks] == [(64, 40)]


def test_a_video_in_any_form_has_the_answer_of_its_file(
    made: Path, writer: Pipeline
) -> None:
    file = made / "clip0.mp4"
    frames = read_frames(file, range).frames
    assert frames.shape == (5, 48, 64, 3)
    forms = [
        file,
        file.read_bytes(),
        io.BytesIO(file.read_bytes()),
        frames,
        colours_first(frames) / 255,
        made / "clip1.mp4",
    ]
    first, *same, other = writer(forms)
    for result in same:
        assert result.error is None
        assert result.score == pytest.approx(first.score, abs=1e-6)
    assert other.score != pytest.approx(first.score, abs=1e-6)


def test_a_list_gives_a_list_in_batches_and_an_iterator_one_after_another(
    made: Path, judge: Pipeline
) -> None:
    files = [made / f"still{number}.png" for number in range(3)]
    mixed = [files[0], pixels_of(files[1]), Image.open(files[2])]
    sizes: list[int] = []
    handle = judge.net.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0]["image"]))
    )
    found = judge(mixed, question="it is red")
    handle.remove()
    assert isinstance(found, list)
    assert sizes == [2, 1]  # the batch size of the spec is 2
    names = [result.media for result in found]
    assert names == [(str(files[0]),), ("<ndarray 1>",), ("<PngImageFile 2>",)]
    for file, result in zip(files, found, strict=True):
        alone = judge(file, question="it is red")
        assert isinstance(alone, Result)
        assert result.text == alone.text
        assert result.score == pytest.approx(alone.score, abs=1e-5)
    lazy = judge(iter(mixed), question="it is red")
    assert isinstance(lazy, Iterator)
    assert [result.media for result in lazy] == names


def test_pairs_may_be_in_memory(made: Path) -> None:
    pipe = ready(made, "pairs")
    first, second = (made / f"still{number}.png" for number in (0, 1))
    expected = pipe((first, second), question="both are red")
    found = pipe((pixels_of(first), second.read_bytes()), question="both are red")
    assert isinstance(expected, Result)
    assert isinstance(found, Result)
    assert found.guesses == expected.guesses


def test_a_broken_value_is_an_error_of_its_own_in_a_list(
    made: Path, judge: Pipeline
) -> None:
    bad = np.full((4, 4, 3), np.nan, np.float32)
    found = judge([b"no image", bad, made / "still0.png"], question="red")
    assert isinstance(found, list)
    errors = [result.error for result in found]
    assert "memory/<bytes 1> is not an image that can be read" in str(errors[0])
    assert errors[1] == (
        "<ndarray 2> cannot be read (values must be uint8 of 0..255, or floating point of 0..1 "
        "(got nan to nan). Divide by 255, or give uint8)"
    )
    assert errors[2] is None
    with pytest.raises(ImageError, match="got 0 to 255"):
        judge(np.linspace(0, 255, 48).reshape(4, 4, 3), question="red")


def test_a_network_that_trains_is_asked_without_dropout_and_goes_on_training(
    made: Path,
) -> None:
    net = mplug2.compose(made / "entailment.yaml", ["modules.head.dropout=0.9"])
    pipe = mplug2.pipeline(net.train(), top=3)
    first, second = pipe([made / "still0.png"] * 2, question="it is red")
    assert first.text == second.text
    assert first.score == pytest.approx(second.score, abs=1e-6)
    assert all(module.training for module in net.modules())
    assert "weights in memory on cpu" in repr(pipe)
    with pytest.raises(UserError, match="leave checkpoint, overrides and device out"):
        mplug2.pipeline(net, made)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("image", 5, r"an image must be a path, bytes.*\(got int 5\)"),
        ("image", ["a.png", None], r"\(got NoneType None\)"),
        ("image", {"image": "a.png"}, r"\(got dict"),
        ("image", np.zeros((2, 4, 4, 3), np.uint8), r"A batch of images is a list"),
        (
            "image",
            np.zeros((3, 4, 5), np.uint8),
            r"<ndarray 1>: an image must be a numpy array \[H W 3\].*\(got the shape \[3, 4, 5\]\). "
            r"Move the axis of colours: .transpose\(1, 2, 0\)",
        ),
        ("image", torch.zeros(4, 5, 3), r"colours: .permute\(2, 0, 1\)"),
        (
            "image",
            np.zeros((0, 4, 3), np.uint8),
            r"no empty axis \(got the shape \[0, 4",
        ),
        ("image", np.zeros((4, 4, 3), np.int64), r"must be uint8 of 0..255.*got int64"),
        ("image", torch.zeros(3, 4, 4, dtype=torch.bool), r"got torch.bool"),
        ("image", np.array(["a", "b"]), r"got the shape \[2\]"),
        ("video", np.zeros((4, 4, 3), np.uint8), r"A video has an axis of frames"),
        ("video", np.zeros((2, 3, 4, 5), np.uint8), r".transpose\(0, 2, 3, 1\)"),
        ("video", torch.zeros(2, 4, 5, 3), r".permute\(0, 3, 1, 2\)"),
        ("video", [Image.new("RGB", (4, 4))], r"frames as one array: numpy.stack"),
        ("image", io.StringIO("text"), r"open in binary mode \(got str\)"),
    ],
)
def test_what_is_no_image_or_video_is_refused_in_a_sentence(
    kind: Any, value: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        MediaValues(kind).names(value)


def test_the_move_that_a_message_names_is_right() -> None:
    assert np.zeros((2, 3, 4, 5)).transpose(0, 2, 3, 1).shape == (2, 4, 5, 3)
    assert np.zeros((3, 4, 5)).transpose(1, 2, 0).shape == (4, 5, 3)
    assert torch.zeros(2, 4, 5, 3).permute(0, 3, 1, 2).shape == (2, 3, 4, 5)


def test_closed_files_and_formats_of_other_programs_are_refused() -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(UserError, match=r"<BytesIO 1> cannot be read \(.*closed"):
        MediaValues("image").names(closed)
    picture = Image.new("RGB", (4, 4))
    picture.format = "EPS"
    with pytest.raises(UserError, match=r"\(got EPS\). Convert it: image.copy\(\)"):
        MediaValues("image").names(picture)
    assert MediaValues("image").names(picture.copy()) == "<Image 1>"


class Endless:
    """A file object without end that counts what is read of it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int) -> bytes:
        self.taken += size
        return bytes(size)


def test_file_objects_are_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_values, "MAX_IMAGE_BYTES", 3 << 20)
    endless = Endless()
    with pytest.raises(UserError, match="<Endless 1> has more than 3145728 bytes"):
        MediaValues("image").names(endless)
    assert endless.taken == 4 << 20
    monkeypatch.setattr(media_values, "MAX_CALL_BYTES", 10)
    values = MediaValues("video")
    values.names(io.BytesIO(b"123456"))
    with pytest.raises(UserError, match="<BytesIO 2> has more than 4 bytes"):
        values.names(io.BytesIO(b"123456"))


def test_pixels_are_refused_before_any_of_them_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The arrays are views of one value: reading them would take gigabytes."""
    monkeypatch.setattr(pixel_file, "_as_bytes", None)  # a conversion would fail
    broad = np.broadcast_to(np.uint8(0), (30_000, 30_000, 3))
    with pytest.raises(ImageError, match="<huge> has 30000x30000 pixels; at most"):
        read_image_of(broad)
    with pytest.raises(VideoError, match="has frames of 30000x30000 pixels"):
        read_frames(PixelFile("<huge>", broad[None]), range)
    long = np.broadcast_to(np.uint8(0), (300_000, 4, 4, 3))
    with pytest.raises(VideoError, match="has more than 200000 frames"):
        read_frames(PixelFile("<huge>", long), range)
    many = np.broadcast_to(np.uint8(0), (500, 1000, 1000, 3))
    with pytest.raises(VideoError, match="500 frames of 1000x1000 pixels need"):
        read_frames(PixelFile("<huge>", many), range)
    lazy = Image.new("1", (10_000, 10_000))
    with pytest.raises(ImageError, match="has 10000x10000 pixels; at most"):
        read_image_of(lazy)


def read_image_of(values: Any) -> np.ndarray:
    return read_image(PixelFile("<huge>", values))


def test_grey_images_and_half_precision_are_converted() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    read = read_image_of(grey)
    assert read.shape == (3, 4, 3)
    assert (read == grey[:, :, None]).all()
    tensor = torch.tensor([[[0.0, 0.5, 1.0]]], dtype=torch.bfloat16)
    assert read_image_of(tensor)[0, :, 0].tolist() == [0, 128, 255]


def test_frames_are_made_smaller_one_by_one() -> None:
    frames = np.arange(4 * 6 * 6 * 3, dtype=np.uint8).reshape(4, 6, 6, 3)
    clip = read_frames(
        PixelFile("<frames>", frames),
        lambda total: [0, total - 1],
        limits=Limits(kept_bytes=1),  # of what is not made smaller
        shrink=lambda frame: frame[:2, :2],
    )
    assert (clip.frames == frames[[0, 3], :2, :2]).all()
    assert (clip.indices, clip.total) == ([0, 3], 4)
    assert scan_video(PixelFile("<frames>", frames)).packets == 4


def test_paths_and_lists_of_them_are_texts() -> None:
    names = MediaValues("image").names
    assert names(Path("a.png")) == "a.png"
    assert names(["a.png", (Path("b.png"), "c.png")]) == ["a.png", ["b.png", "c.png"]]
    assert names(name for name in ("a", "b")) == ["a", "b"]
    # A file of such a name is not what is in memory.
    assert names("<bytes 1>") == "./<bytes 1>"


def test_bytes_reach_processes_that_read() -> None:
    values = MediaValues("image")
    values.names(b"content")
    (file,) = pickle.loads(pickle.dumps(values.files)).values()
    assert file.read() == b"content"
