"""What later families need of a key map: one table of all blocks, biases without keys, parts of a tensor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mplug2
from mplug2.network import Network
from mplug2.weights.export import Original, export
from mplug2.weights.files import Released
from mplug2.weights.keymap import Drop, Facts, Fresh, KeyMap, Role, Row, Values
from mplug2.weights.load import load_mapped
from mplug2.weights.report import LoadReport
from mplug2.weights.transforms import TRANSPOSE, ZERO_KEY_BIAS, concat
from registry import UserError, parse_spec

SPEC = """
inputs: {tokens: tokens B N 6}
modules:
  qkv: {use: project, width_in: 6, width: 12}
  table: {use: feature_head, width_in: 12, width: 8}
  other: {use: class_head, width: 12, classes: 3, depth: 1}
flow:
  hidden: qkv(tokens)
  features: table(hidden)
  logits: other(hidden)
goals: {predict: {features: features, logits: logits}}
"""
ROLES = {
    "qkv": Role("qkv", {"project": ""}),
    "table": Role("table", {"feature_head": ""}),
    "other": Role("other", {"class_head": ""}),
}


def key_map(
    *rows: Row | Drop,
    roles: dict[str, Role] | None = None,
    fresh: tuple[Fresh, ...] = (),
) -> KeyMap:
    return KeyMap("Toy", roles or ROLES, rows, fresh=fresh)


@pytest.fixture
def net() -> Network:
    torch.manual_seed(0)
    return mplug2.compose(parse_spec(SPEC, "toy.yaml"), initial=False)


def everything_else(*names: str) -> tuple[Fresh, ...]:
    """The release holds nothing but the weights in question."""
    return tuple(Fresh("{rest*}", role, "not stored") for role in names)


def there_and_back(
    net: Network, table: KeyMap, tensors: dict[str, Tensor]
) -> tuple[LoadReport, dict[str, Tensor]]:
    released = Released("toy.pth", tensors)
    report = load_mapped(net, table, released)
    back, _ = export(
        net, table, net.state_dict(), {}, Original.of(released), "back.pth"
    )
    assert list(back) == list(tensors)
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value), key
    return report, back


def test_one_table_for_each_block_is_one_table_of_all(net: Network) -> None:
    row = Row(
        "blocks.{layer}.bias_table",
        "linear.weight",
        "table",
        concat(1),
        over="layer",
        count="layers",
    )
    roles = {
        **ROLES,
        "table": Role(
            "table", {"feature_head": ""}, numbers=lambda facts, module: {"layers": 3}
        ),
    }
    table = key_map(row, roles=roles, fresh=everything_else("table"))
    tensors = {f"blocks.{layer}.bias_table": torch.randn(8, 4) for layer in (1, 0, 2)}
    there_and_back(net, table, tensors)
    expected = torch.cat(
        [tensors[f"blocks.{layer}.bias_table"] for layer in range(3)], dim=1
    )
    assert torch.equal(net.get_parameter("table.linear.weight"), expected)
    del tensors["blocks.1.bias_table"]
    with pytest.raises(UserError, match="blocks.1.bias_table is not in the file"):
        load_mapped(net, table, Released("toy.pth", tensors))


def test_biases_of_queries_and_values_get_zeros_for_the_keys(net: Network) -> None:
    row = Row(("attn.q_bias", "attn.v_bias"), "linear.bias", "qkv", ZERO_KEY_BIAS)
    tensors = {"attn.q_bias": torch.randn(4), "attn.v_bias": torch.randn(4)}
    report, _ = there_and_back(net, key_map(row, fresh=everything_else("qkv")), tensors)
    bias = net.get_parameter("qkv.linear.bias").detach()
    assert torch.equal(
        bias,
        torch.cat([tensors["attn.q_bias"], torch.zeros(4), tensors["attn.v_bias"]]),
    )
    assert [row.source for row in report.of("loaded")] == ["attn.q_bias", "attn.v_bias"]


def test_one_released_tensor_is_split_over_modules_and_joined_again(
    net: Network,
) -> None:
    row = Row(
        "in_proj",
        ("linear.bias", "qkv:norm.bias", "qkv:norm.weight"),
        "qkv",
        concat().inverse,
    )
    there_and_back(
        net, key_map(row, fresh=everything_else("qkv")), {"in_proj": torch.randn(36)}
    )
    other = Row("joined", ("linear.bias", "other:out.bias"), "table", concat().inverse)
    with pytest.raises(
        UserError, match="axis 0 of size 11 does not divide into 2 equal parts"
    ):
        load_mapped(
            net, key_map(other), Released("toy.pth", {"joined": torch.randn(11)})
        )


def test_a_weight_that_is_tied_to_a_transposed_one_is_written_under_both_names(
    net: Network,
) -> None:
    rows = (
        Row("img_linear.weight", "linear.weight", "qkv"),
        Row("feat_regress.weight", "linear.weight", "qkv", TRANSPOSE),
    )
    weight = torch.randn(12, 6)
    tensors = {"img_linear.weight": weight, "feat_regress.weight": weight.T}
    report, back = there_and_back(
        net, key_map(*rows, fresh=everything_else("qkv")), tensors
    )
    assert [row.source for row in report.of("tied")] == ["feat_regress.weight"]
    # Trained further, both names hold the new value.
    net.get_parameter("qkv.linear.weight").data.mul_(2)
    back, _ = export(net, key_map(*rows), net.state_dict(), {}, None, "back.pth")
    assert torch.equal(back["img_linear.weight"], 2 * weight)
    assert torch.equal(back["feat_regress.weight"], 2 * weight.T)


def test_a_smaller_table_fills_a_part_and_the_rest_stays(net: Network) -> None:
    def first_rows_and_copy(value: Tensor, target: Tensor) -> tuple[Tensor, str] | None:
        if len(value) >= len(target):
            return None
        filled = target.clone()
        filled[: len(value)] = value
        filled[len(value)] = value[-1]
        return filled, f"{len(value)} rows of {len(target)}, the next one a copy"

    row = Row("types.weight", "out.weight", "other", resize=first_rows_and_copy)
    table = key_map(row, fresh=everything_else("other"))
    before = net.get_parameter("other.out.weight").detach().clone()
    released = Released("toy.pth", {"types.weight": torch.randn(1, 12)})
    report = load_mapped(net, table, released)
    assert [row.reason for row in report.of("resized")] == [
        "1 rows of 3, the next one a copy"
    ]
    after = net.get_parameter("other.out.weight").detach()
    assert torch.equal(after[0], released.tensors["types.weight"][0])
    assert torch.equal(after[1], after[0]) and torch.equal(after[2], before[2])
    _, written = export(
        net, table, net.state_dict(), {}, Original.of(released), "back.pth"
    )
    assert (
        written.of("resized")[0].reason
        == "the original has [1, 12], this network has [3, 12]"
    )


def test_a_second_spelling_is_written_only_if_the_original_has_it(net: Network) -> None:
    rows = (
        Row("head.bias", "out.bias", "other"),
        Row("score.bias", "out.bias", "other", alternative=True),
    )
    table = key_map(*rows, fresh=everything_else("other"))
    there_and_back(net, table, {"score.bias": torch.randn(3)})
    there_and_back(net, table, {"head.bias": torch.randn(3)})
    back, _ = export(net, table, net.state_dict(), {}, None, "back.pth")
    assert list(back) == ["head.bias"]


def test_weights_that_only_our_network_has_are_added(net: Network) -> None:
    rows = (
        Row("head.bias", "out.bias", "other"),
        Row("head.weight", "out.weight", "other"),
    )
    original = Original.of(Released("toy.pth", {"head.bias": torch.zeros(3)}))
    back, report = export(
        net, key_map(*rows), net.state_dict(), {}, original, "back.pth"
    )
    assert list(back) == ["head.bias", "head.weight"]
    assert [row.reason for row in report.of("written")] == [
        "",
        "the original has no such key",
    ]
    assert {row.source.split(".")[0] for row in report.of("dropped")} == {
        "qkv",
        "table",
    }


def test_a_value_that_half_precision_cannot_hold_is_refused(net: Network) -> None:
    net.get_parameter("other.out.bias").data.fill_(1e6)
    original = Original.of(
        Released("toy.pth", {"head.bias": torch.zeros(3, dtype=torch.float16)})
    )
    with pytest.raises(
        UserError, match=r"head.bias: a value of 1e\+06 does not fit the original"
    ):
        export(
            net,
            key_map(Row("head.bias", "out.bias", "other")),
            net.state_dict(),
            {},
            original,
            "back.pth",
        )


def test_two_modules_that_could_be_one_key_are_refused_when_writing(
    net: Network,
) -> None:
    roles = {
        "any": Role("any", {"feature_head": "linear.", "class_head": "out."}, many=True)
    }
    table = key_map(Row("bias", "bias", "any"), roles=roles)
    with pytest.raises(
        UserError,
        match="could be written from table.linear.bias or from other.out.bias",
    ):
        export(net, table, net.state_dict(), {}, None, "back.pth")


def test_numbers_of_the_stored_keys_place_layers(net: Network) -> None:
    """`facts` counts stored layers and sizes; without keys the defaults hold."""
    facts = Facts(net, {"layer.0.w": (2,), "layer.7.w": (2, 3), "x": ()}, {"heads": 2})
    assert facts.count("layer.{layer}.{rest*}", 12) == 8
    assert facts.count("stage.{layer}.{rest*}", 12) == 12
    assert facts.least("layer.{layer}.w", 5) == 0
    assert facts.least("stage.{layer}.w", 5) == 5
    assert (facts.size("layer.7.w", 1), facts.size("x", 9), facts.size("y", 9)) == (
        6,
        1,
        9,
    )
    assert facts.config["heads"] == 2 and facts.use("qkv") == "project"
    assert (
        facts.argument("qkv", "width", 0) == 12
        and facts.argument("qkv", "depth", 3) == 3
    )


CONDITIONS = [
    ("b.1", "dropped early"),  # by a drop before the row
    ("b.9", "dropped late, 3 layers"),  # by a drop after it
    ("c", "not a key of Toy"),
]


@pytest.mark.parametrize(("key", "reason"), CONDITIONS)
def test_the_first_drop_ends_the_search(key: str, reason: str, net: Network) -> None:
    def numbers(facts: Facts, module: str) -> Values:
        return {"layers": 3}

    roles = {"other": Role("other", {"class_head": ""}, numbers=numbers)}
    table = key_map(
        Drop("b.{layer}", "dropped early", where=lambda values: values["layer"] == 1),
        Row(
            "b.{layer}",
            "out.bias",
            "other",
            where=lambda values: values["layer"] < values["layers"],
        ),
        Drop("b.{layer}", "dropped late, {layers} layers", "other"),
        roles=roles,
        fresh=everything_else("other"),
    )
    report = load_mapped(
        net, table, Released("toy.pth", {"b.0": torch.ones(3), key: torch.zeros(3)})
    )
    assert [row.reason for row in report.of("dropped")] == [reason]
    assert torch.equal(net.get_parameter("other.out.bias").detach(), torch.ones(3))
