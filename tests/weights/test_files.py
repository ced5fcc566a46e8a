"""Weight files of which some bytes are wrong: read, or refused with a sentence."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

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
def test_a_damaged_file_is_a_mistake_of_the_user(
    form: str, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(FILES[form])
    end = data.draw(
        st.sampled_from([400, len(content)])
    )  # where the pickle is, or anywhere
    places = st.integers(0, min(end, len(content)) - 1)
    for place, byte in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)
    ):
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
def test_wrappers_are_removed_and_remembered(
    wrappers: tuple[str, ...], prefix: str, tmp_path: Path
) -> None:
    content: dict[str, object] = {
        f"{prefix}a.weight": torch.ones(2),
        f"{prefix}module.b": torch.zeros(1),
    }
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


def saved(content: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


SAFETENSORS = save({"a": torch.ones(300)})
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "is a git LFS pointer",
        ),
        (PAGE, r"is a web page \(HTML\)"),
        (b"", r"is empty \(0 bytes\)"),
        (saved({"a": torch.ones(300)})[:-40], "is cut off .*download complete"),
        (
            SAFETENSORS[:-1],
            f"is cut off .got {len(SAFETENSORS) - 1} of {len(SAFETENSORS)} bytes",
        ),
        (SAFETENSORS[:20], "is cut off"),
    ],
)
def test_what_is_no_weights_is_named(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"^{file}: .*{message}"):
        read_released(file)


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".pth", SAFETENSORS, r"is a safetensors file. Name it .safetensors"),
        (".safetensors", saved({"a": torch.ones(3)}), r"is a PyTorch file \(.pth\)"),
        (".h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, not weights"),
        (".bin", b"GGUF" + bytes(99), "is a GGUF file, not weights"),
        (
            ".pth",
            b"PASSWORD=[correct horse }",
            r"is of another format, not weights\. Give[a-zA-Z .]*$",
        ),
    ],
)
def test_another_format_than_the_name_says_is_named(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_released(file)


def test_a_few_bytes_that_unfold_to_gigabytes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save(
        {"small": torch.ones(2), "grid": torch.zeros(1).expand(1 << 17, 1 << 15)}, file
    )
    with pytest.raises(
        UserError, match="tensor grid .* has 17179869184 bytes in memory"
    ):
        read_released(file)


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"grid": torch.zeros(1 << 16)}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(UserError, match="is compressed: "):
        read_released(packed)
