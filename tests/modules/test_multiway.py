"""The multiway transformer: which expert sees what, positions, and one stack in two modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modules.multiway import Multiway
from modules.relative_bias import RelativeBias, image_index, image_rows, text_index
from modules.streams import Tokens

SIDE, PATCH, WIDTH, TEXT = 2, 4, 8, 5
SIZE = {"size": SIDE * PATCH, "patch": PATCH, "text_positions": 7}
EXPERTS: list[str] = ["text", "image", "fused"]


def stack(depth: int = 2, **more: object) -> Multiway:
    torch.manual_seed(0)
    module = Multiway(WIDTH, depth, heads=2, **{**SIZE, **more})  # type: ignore[arg-type]
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


def text(padded: int = 0) -> Tokens:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(2, TEXT, dtype=torch.bool)
    mask[1, TEXT - padded :] = False
    return Tokens(torch.randn(2, TEXT, WIDTH, generator=generator), mask)


def image() -> Tokens:
    return Tokens(
        torch.randn(2, 1 + SIDE**2, WIDTH, generator=torch.Generator().manual_seed(2))
    )


def used_experts(module: Multiway, **call: object) -> set[str]:
    """Return the experts that get a gradient from a call."""
    module.zero_grad()
    outputs = module(**call)
    sum(tokens.values.square().sum() for tokens in outputs.values()).backward()
    block = module.blocks[0]
    return {
        name for name, expert in block.mlp.items() if expert.fc1.weight.grad is not None
    }  # type: ignore


def test_streams_and_the_option_choose_the_experts() -> None:
    module = stack(experts=EXPERTS)
    assert used_experts(module, text=text()) == {"text"}
    assert used_experts(module, image=image()) == {"image"}
    assert used_experts(module, text=text(), image=image()) == {"text", "image"}
    assert used_experts(module, text=text(), expert="fused") == {"fused"}
    assert used_experts(module, text=text(), image=image(), expert="fused") == {"fused"}


def test_fused_experts_alone_read_text_and_image() -> None:
    module = stack(experts=EXPERTS)
    fused = stack(experts=["fused"])
    weights = {name: module.state_dict()[name] for name in fused.state_dict()}
    fused.load_state_dict(weights)
    call = {"text": text(), "image": image(), "expert": "fused"}
    torch.testing.assert_close(
        fused(**call)["text"].values, module(**call)["text"].values
    )


def test_each_position_goes_to_the_expert_of_its_modality() -> None:
    """With attention cut off, a joint call equals two calls."""
    module = stack(depth=1)
    torch.nn.init.zeros_(module.blocks[0].attn.proj.weight)  # type: ignore[union-attr, arg-type]
    both = module(text=text(), image=image())
    torch.testing.assert_close(both["text"].values, module(text=text())["text"].values)
    torch.testing.assert_close(
        both["image"].values, module(image=image())["image"].values
    )


def test_attention_is_shared_between_modalities() -> None:
    module = stack()
    changed = Tokens(image().values + 1)
    plain = module(text=text(), image=image())["text"].values
    assert not torch.allclose(plain, module(text=text(), image=changed)["text"].values)


def test_padding_changes_nothing() -> None:
    module = stack()
    long = text(padded=2)
    short = Tokens(long.values[1:, :3], long.mask[1:, :3])  # type: ignore[index]
    padded = module(text=long, image=image())
    plain = module(text=short, image=Tokens(image().values[1:]))
    torch.testing.assert_close(padded["text"].values[1:, :3], plain["text"].values)
    torch.testing.assert_close(padded["image"].values[1:], plain["image"].values)
    assert padded["text"].mask is long.mask
    assert padded["image"].mask is None


@pytest.mark.parametrize("position", ["relative", "none"])
def test_a_stack_in_two_modules_is_the_same_stack(position: str) -> None:
    complete = stack(3, position=position, norm=True, drop_path=0.4)
    lower = stack(2, position=position, total=3, drop_path=0.4)
    upper = stack(1, position=position, first=2, norm=True, drop_path=0.4)
    weights = complete.state_dict()
    for module, first in ((lower, 0), (upper, 2)):
        own: dict[str, Tensor] = {}
        for name in module.state_dict():
            if name.startswith("bias."):
                columns = slice(2 * first, 2 * (first + len(module.blocks)))
                own[name] = weights[name][:, columns]
            elif name.startswith("blocks."):
                _, number, rest = name.split(".", 2)
                own[name] = weights[f"blocks.{int(number) + first}.{rest}"]
            else:
                own[name] = weights[name]
        module.load_state_dict(own)
    half = lower(text=text(), image=image())
    parts = upper(text=half["text"], image=half["image"])
    for name, tokens in complete(text=text(), image=image()).items():
        torch.testing.assert_close(parts[name].values, tokens.values)
    rates = [block.drop_path.drop_prob for block in (*lower.blocks, *upper.blocks)]  # type: ignore
    assert rates == [block.drop_path.drop_prob for block in complete.blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0, 0.2, 0.4])


def test_offsets_of_patches_are_query_minus_key_and_those_of_words_key_minus_query() -> (
    None
):
    index = image_index(2)
    # Patches 1 and 2 are neighbours in a row; offsets are counted from the middle of a 3 x 3 grid, 4.
    assert index[1].tolist()[1:] == [4, 3, 1, 0]
    assert index[0].tolist() == [11, 9, 9, 9, 9]
    assert index[1:, 0].tolist() == [10] * 4
    first = image_rows(2)
    words = text_index(4, 7, first)
    middle = first + 2 + 5
    assert words[1].tolist()[1:] == [middle, middle + 1, middle + 2]
    assert words[2, 1] == middle - 1
    last = first + 2 * 7 + 2
    assert [words[0, 1], words[1, 0], words[0, 0]] == [last - 3, last - 2, last - 1]


def test_text_and_image_see_each_other_through_two_constants() -> None:
    bias = RelativeBias(2, 3, SIDE, 7)
    assert bias.text is not None
    with torch.no_grad():
        bias.text[0], bias.text[1] = 5.0, 7.0
    added = bias(1, bias.index(TEXT, True))[0]
    assert added.shape == (2, TEXT + 5, TEXT + 5)
    assert (added[:, :TEXT, TEXT:] == 5).all()
    assert (added[:, TEXT:, :TEXT] == 7).all()
    assert (added[:, :TEXT, :TEXT] == 0).all()


def test_recomputing_changes_no_gradient() -> None:
    gradients = []
    for recompute in ("none", "all"):
        module = stack(recompute=recompute)
        module(text=text(1), image=image())["text"].values.square().sum().backward()
        gradients.append([p.grad for p in module.parameters() if p.grad is not None])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"experts": []},
            "experts must be different ones of text, image, fused, but are \\[\\]",
        ),
        ({"experts": ["text", "text"]}, "experts must be different"),
        (
            {"first": 2, "total": 3},
            "first and depth must fit into total, 3 blocks, but are 2 and 2",
        ),
        ({"layer_scale": -1.0}, "layer_scale must be at least 0"),
        ({"size": 9}, "size must be a multiple of patch"),
        ({"text_positions": 1}, "text_positions must be at least 2"),
        ({"drop_path": 1.0}, "drop_path must be"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stack(**arguments)  # type: ignore[arg-type]


def test_wrong_calls_are_named() -> None:
    module = stack()
    with pytest.raises(ValueError, match="a call needs text, image or both"):
        module()
    with pytest.raises(ValueError, match="experts must hold 'fused' for this call"):
        module(text=text(), expert="fused")
    with pytest.raises(ValueError, match="image must have 5 tokens"):
        module(image=Tokens(torch.zeros(1, 10, WIDTH)))
    with pytest.raises(
        ValueError, match="text must be at most 7 tokens long, but is 8"
    ):
        module(text=Tokens(torch.zeros(1, 8, WIDTH)))
    with pytest.raises(ValueError, match="experts must hold 'text'"):
        stack(experts=["image"])(text=text())
