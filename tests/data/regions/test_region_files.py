"""Files of regions: each form gives the same record; what is damaged, too large or no number is refused."""

from __future__ import annotations

import base64
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mplug2.data.regions import npz as npz_files
from mplug2.data.regions.files import open_regions
from mplug2.data.regions.record import image_number
from registry import UserError

NAME, COUNT, WIDTH = "COCO_val2014_000000000042.jpg", 3, 5
SIZE = (200, 100)  # width and height in pixels


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((COUNT, 2, 2)), axis=1).reshape(COUNT, 4)
    return {
        "features": rng.normal(size=(COUNT, WIDTH)).astype(np.float16),
        "norm_bb": np.concatenate(
            [corners, corners[:, 2:] - corners[:, :2]], axis=1
        ).astype(np.float32),
        "conf": np.array([0.9, 0.5, 0.1], dtype=np.float32),
        "soft_labels": rng.dirichlet(np.ones(4), size=COUNT).astype(np.float32),
    }


def npz(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content)
    return buffer.getvalue()


def write_npz(folder: Path) -> Path:
    path = folder / "regions"
    path.mkdir()
    (path / "COCO_val2014_000000000042.npz").write_bytes(npz(arrays()))
    return path


def tsv_line(number: int, count: int = COUNT) -> bytes:
    content = arrays()
    boxes = (content["norm_bb"][:, :4] * [*SIZE, *SIZE]).astype(np.float32)
    packed = [
        base64.b64encode(array.astype(np.float32).tobytes())
        for array in (boxes, content["features"])
    ]
    fields = [str(number), str(SIZE[0]), str(SIZE[1]), str(count)]
    return b"\t".join([*(field.encode() for field in fields), *packed]) + b"\n"


def write_tsv(folder: Path) -> Path:
    path = folder / "regions.tsv"
    path.write_bytes(tsv_line(7) + tsv_line(42))
    return path


def write_groups(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    path = folder / "regions.h5"
    with h5py.File(path, "w") as file:
        for name, array in arrays().items():
            file.create_dataset(f"{NAME}/{name}", data=array)
    return path


def write_hdf5(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    path = folder / "all.hdf5"
    content = arrays()
    with h5py.File(path, "w") as file:
        file["image_ids"] = np.array([7, 42])
        file["image_features"] = np.stack(
            [content["features"] * 0, content["features"]]
        )
        file["spatial_features"] = np.stack(
            [content["norm_bb"] * 0, content["norm_bb"]]
        )
    return path


def packed(array: np.ndarray) -> dict[bytes, Any]:
    """An array as msgpack-numpy writes it."""
    return {
        b"nd": True,
        b"type": array.dtype.str.encode(),
        b"kind": b"",
        b"shape": list(array.shape),
        b"data": array.tobytes(),
    }


def lmdb_of(folder: Path, value: bytes) -> Path:
    lmdb = pytest.importorskip("lmdb")
    path = folder / "lmdb"
    path.mkdir()
    with (
        lmdb.open(str(path), map_size=1 << 20) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"COCO_val2014_000000000042.npz", value)
    return path


def write_msgpack(folder: Path) -> Path:
    msgpack = pytest.importorskip("msgpack")
    return lmdb_of(
        folder, msgpack.packb({name: packed(array) for name, array in arrays().items()})
    )


def write_lz4(folder: Path) -> Path:
    frame, msgpack = pytest.importorskip("lz4.frame"), pytest.importorskip("msgpack")
    content = msgpack.packb({name: packed(array) for name, array in arrays().items()})
    return lmdb_of(folder, frame.compress(content))


def write_lmdb_npz(folder: Path) -> Path:
    return lmdb_of(folder, npz(arrays()))


FORMS = (
    write_npz,
    write_tsv,
    write_groups,
    write_hdf5,
    write_msgpack,
    write_lz4,
    write_lmdb_npz,
)


@pytest.mark.parametrize("write", FORMS)
def test_every_form_holds_the_same_regions(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    store = open_regions(str(write(tmp_path)))
    content = arrays()
    for opened in (store, pickle.loads(pickle.dumps(store))):  # a worker opens its own
        record = opened.read(NAME)
        assert record.features.dtype == np.float32
        np.testing.assert_array_equal(
            record.features, content["features"].astype(np.float32)
        )
        np.testing.assert_allclose(record.boxes, content["norm_bb"][:, :4], atol=1e-6)
        if record.classes is not None:
            np.testing.assert_array_equal(record.classes, content["soft_labels"])
    with pytest.raises(UserError, match="no line of|no regions of"):
        store.read("COCO_val2014_000000000043.jpg")


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    objects = np.empty(COUNT, dtype=object)
    (path / "COCO_val2014_000000000042.npz").write_bytes(
        npz(arrays() | {"features": objects})
    )
    with pytest.raises(
        UserError, match=r"not a readable .npz of numbers \(Object arrays"
    ):
        open_regions(str(path)).read(NAME)


def test_objects_in_msgpack_are_refused(tmp_path: Path) -> None:
    msgpack = pytest.importorskip("msgpack")
    danger = {
        b"nd": True,
        b"type": b"O",
        b"kind": b"O",
        b"shape": [1],
        b"data": pickle.dumps([1]),
    }
    path = lmdb_of(tmp_path, msgpack.packb({"features": danger}))
    with pytest.raises(UserError, match="an array must hold numbers"):
        open_regions(str(path)).read(NAME)


def test_a_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_npz(tmp_path)
    monkeypatch.setattr(npz_files, "LARGEST_RECORD", 1000)
    zeros = {"features": np.zeros((100, 100), dtype=np.float32)}
    (path / "COCO_val2014_000000000042.npz").write_bytes(npz(zeros))
    with pytest.raises(UserError, match="must unpack to at most 1000 bytes"):
        open_regions(str(path)).read(NAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm_bb": np.zeros((2, 4))}, "'norm_bb' must have 3 rows, but has 2"),
        ({"features": np.zeros(3)}, "'features' must be numbers with two axes"),
        ({"features": np.full((3, 5), np.nan)}, "must be finite"),
        ({"norm_bb": np.array(["a", "b", "c"])}, "'norm_bb' must be numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_npz(tmp_path)
    file = path / "COCO_val2014_000000000042.npz"
    file.write_bytes(npz(arrays() | change))
    with pytest.raises(UserError, match=message):
        open_regions(str(path)).read(NAME)
    content = arrays()
    del content["features"]
    file.write_bytes(npz(content))
    with pytest.raises(UserError, match="must hold 'features', but holds norm_bb"):
        open_regions(str(path)).read(NAME)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", npz(arrays())[:200]])
def test_a_damaged_npz_is_named(content: bytes, tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    (path / "COCO_val2014_000000000042.npz").write_bytes(content)
    with pytest.raises(UserError, match="not a readable .npz"):
        open_regions(str(path)).read(NAME)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"x\t1\n", "must begin with the number of an image"),
        (b"42\t200\n", "must have the columns"),
        (tsv_line(42, count=4), "not readable"),
        (tsv_line(42).replace(b"A", b"!"), "not readable"),
    ],
)
def test_a_damaged_line_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "regions.tsv"
    path.write_bytes(line)
    with pytest.raises(UserError, match=message):
        open_regions(str(path)).read(NAME)


def test_boxes_alone(tmp_path: Path) -> None:
    path = tmp_path / "boxes.jsonl"
    path.write_text(
        '{"image": "a.png", "boxes": [[0, 12, 24, 48]]}\n'
        '{"image": "b.png", "things": [{"box": [0, 0, 12, 12]}, {"box": [24, 24, 48, 48]}]}\n'
    )
    store = open_regions(str(path), 48)
    assert store.read("a.png").features.shape == (1, 0)
    assert store.read("b.png").boxes.tolist() == [[0, 0, 0.25, 0.25], [0.5, 0.5, 1, 1]]
    with pytest.raises(UserError, match="set region_image_size"):
        open_regions(str(path))
    path.write_text('{"image": "a.png", "boxes": [[0, 12]]}\n')
    with pytest.raises(UserError, match=r"boxes.jsonl:1.* a line must be"):
        open_regions(str(path), 48)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "regions.txt").write_text("")
    with pytest.raises(UserError, match="regions must be a folder"):
        open_regions(str(tmp_path / "regions.txt"))
    with pytest.raises(UserError, match="must exist"):
        open_regions(str(tmp_path / "absent"))
    assert image_number("a/COCO_000000000042.jpg") == 42
    assert image_number("cat.jpg") is None
