"""Every registered key map: read without torch, patterns that lead back, transforms with true inverses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from mplug2.weights.bound_map import forms_of, roles_of
from mplug2.weights.key_pattern import INTEGER, KeyPattern, read_pattern
from mplug2.weights.keymap import Drop, KeyMap, Row
from mplug2.weights.transforms import (
    BIAS_TABLE,
    BLOCK_TABLES,
    DEPTHWISE,
    FRAME_PATCHES,
    IDENTITY,
    SHARED_TABLE,
    TRANSPOSE,
    ZERO_KEY_BIAS,
    Transform,
    concat,
    leading,
    trailing,
)
from registry import KEY_MAPS

# Shapes of what each transform reads, and how many tensors it makes of them.
TRANSFORMS: list[tuple[Transform, list[tuple[int, ...]], int]] = [
    (IDENTITY, [(3, 4)], 1),
    (TRANSPOSE, [(3, 4)], 1),
    (leading(1), [()], 1),
    (leading(2), [(5,)], 1),
    (leading(1).inverse, [(1, 7)], 1),
    (trailing(3), [(4, 2, 1, 1, 1)], 1),
    (concat(), [(2, 3), (2, 3), (2, 3)], 1),
    (concat(1), [(2, 3), (2, 3)], 1),
    (concat().inverse, [(6, 3)], 3),
    (ZERO_KEY_BIAS, [(4,), (4,)], 1),
    (DEPTHWISE, [(8, 1, 3, 1, 1)], 1),
    (FRAME_PATCHES, [(4, 3, 1, 2, 2)], 1),
    (FRAME_PATCHES, [(4, 3, 3, 2, 2)], 1),
    (BIAS_TABLE, [(12, 6)], 2),
    (BIAS_TABLE, [(12, 6)], 4),
    (BLOCK_TABLES, [(7, 2), (7, 2), (7, 2)], 1),
    (BLOCK_TABLES, [(7, 2), (7, 2), (7, 2)], 2),
    (SHARED_TABLE, [(7, 2)], 1),
    (SHARED_TABLE, [(7, 2)], 2),
]
# The numbers of a role that transforms ask for: rows of texts, columns of the first module, blocks.
NUMBERS = {"tail": 5, "columns": 4, "blocks": 3}


def tables() -> list[tuple[str, KeyMap]]:
    return [(name, KEY_MAPS.load(name)) for name in KEY_MAPS.names()]


def rows() -> Iterator[tuple[KeyMap, Row]]:
    for _, key_map in tables():
        for row in key_map.rows:
            if isinstance(row, Row):
                yield key_map, row


@pytest.mark.parametrize("name", KEY_MAPS.names())
def test_a_table_is_complete(name: str) -> None:
    key_map: KeyMap = KEY_MAPS.load(name)
    assert key_map.title and key_map.source
    assert key_map.rows and key_map.roles
    for row in key_map.rows:
        if isinstance(row, Drop):
            assert row.reason and (not row.role or row.role in key_map.roles)
            read_pattern(row.released)
            assert row.make is None or (
                row.role and not read_pattern(row.released).holes
            )
            continue
        forms_of(row)
        assert set(roles_of(row, key_map)) <= set(key_map.roles)
        assert bool(row.over) == bool(row.count)
    for fresh in key_map.fresh:
        assert fresh.reason and fresh.role in key_map.roles
        read_pattern(fresh.ours)
    for role in key_map.roles.values():
        assert role.label and role.uses


def test_holes_lead_from_either_side_to_the_other() -> None:
    """What one side's holes do not give, the other could not be written from."""
    counted = 0
    for key_map, row in rows():
        forms = forms_of(row)
        released, ours = as_tuple(row.released), as_tuple(row.ours)
        numbers = {"module", "first", "latents"}
        theirs = {
            hole.name for text in released for hole in read_pattern(text, forms).holes
        } - {row.over}
        mine = {hole.name for text in ours for hole in read_pattern(text, forms).holes}
        assert theirs - numbers == mine - numbers, f"{key_map.title}: {row}"
        for text in (*released, *ours):
            assert leads_back(read_pattern(text, forms)), text
            counted += 1
    assert counted > 200


def leads_back(pattern: KeyPattern) -> bool:
    """Whether a key that is written is matched again, with the same values."""
    known = {"first": 2, "latents": 5, "module": "m"}
    words = {"weight|bias": "bias", ".*": "a.b"}
    values = {}
    for hole in pattern.holes:
        if hole.name not in known:
            values[hole.name] = (
                4
                if hole.form == INTEGER
                else words.get(hole.form, hole.form.split("|")[0])
            )
    key = pattern.write({**known, **values})
    return key is not None and pattern.bind(known).matches(key) == values


def as_tuple(patterns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else patterns


@pytest.mark.parametrize(
    ("transform", "shapes", "count"), TRANSFORMS, ids=lambda value: str(value)[:40]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_a_transform_leads_back_bit_equal(
    transform: Transform, shapes: list[tuple[int, ...]], count: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    tensors = [torch.randint(-99, 99, shape).to(dtype) for shape in shapes]
    read = transform.read(list(tensors), {**NUMBERS, "count": count})
    assert len(read) == count
    written = transform.write(list(read), {**NUMBERS, "count": len(tensors)})
    assert len(written) == len(tensors)
    for back, tensor in zip(written, tensors, strict=True):
        assert back.dtype == tensor.dtype and torch.equal(back, tensor)


def test_every_transform_of_a_table_is_among_those_tested() -> None:
    tested = {transform.name for transform, _, _ in TRANSFORMS}
    assert {row.transform.name for _, row in rows()} <= tested


def test_tables_are_read_without_torch() -> None:
    code = (
        "import sys, mplug2\nfrom registry import KEY_MAPS\n"
        "for name in KEY_MAPS.names(): KEY_MAPS.load(name)\n"
        "sys.exit(bool({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (leading(1).inverse, (2, 3)),
        (trailing(2), (3, 1, 2)),
        (concat().inverse, (7, 2)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    transform: Transform, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="got|divide"):
        transform.read([torch.zeros(shape)], {"count": 3})


def test_an_optional_kernel_may_be_a_matrix() -> None:
    matrix = torch.ones(3, 2)
    kernel = matrix[:, :, None, None]
    transform = trailing(2, optional=True)
    for stored in (matrix, kernel):
        (read,) = transform.read([stored], {})
        assert torch.equal(read, matrix)
