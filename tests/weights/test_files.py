"""Weight files of which some bytes are wrong: read, or refused with a sentence."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mplug2.weights.files import read_released, read_tensors
from registry import UserError


def written(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    content = {"model": {"a": torch.ones(3, 4), "b": torch.arange(5)}, "epoch": 3}
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


FILES = {"zip": written(legacy=False), "legacy": written(legacy=True)}


@pytest.mark.parametrize("form", FILES)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_file_is_a_mistake_of_the_user(form: str, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(FILES[form])
    end = data.draw(st.sampled_from([400, len(content)]))  # where the pickle is, or anywhere
    places = st.integers(0, min(end, len(content)) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        content[place] = byte
    if data.draw(st.booleans()):
        del content[data.draw(places) :]
    file = tmp_path / "model.pth"
    file.write_bytes(content)
    try:
        assert set(read_tensors(file)) <= {"a", "b"} or content != FILES[form]
    except UserError as error:
        assert str(error).startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("wrappers", "prefix"),
    [
        ((), ""),
        (("state_dict",), ""),
        (("model", "module"), ""),
        (("module",), "module."),
        (("state_dict",), "module._orig_mod."),
        (("ema",), ""),
    ],
)
def test_wrappers_are_removed_and_remembered(wrappers: tuple[str, ...], prefix: str, tmp_path: Path) -> None:
    content: dict[str, object] = {f"{prefix}a.weight": torch.ones(2), f"{prefix}module.b": torch.zeros(1)}
    for wrapper in reversed(wrappers):
        content = {wrapper: content, "epoch": 3}
    torch.save(content, tmp_path / "model.pth")
    released = read_released(tmp_path / "model.pth")
    assert list(released.tensors) == ["a.weight", "module.b"]
    assert (released.wrappers, released.prefix) == (wrappers, prefix)


def test_the_first_of_two_wrappers_holds_the_weights(tmp_path: Path) -> None:
    weights = {"a": torch.ones(1)}
    torch.save({"ema": {"a": torch.zeros(1)}, "model": weights}, tmp_path / "model.pth")
    assert torch.equal(read_tensors(tmp_path / "model.pth")["a"], weights["a"])
