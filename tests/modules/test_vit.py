"""The video encoder: time is mixed by LocalTemporal alone."""

import torch

from modules.temporal import LocalTemporal, quick_gelu
from modules.vit import ImageViT, VideoViT


def _vit(**more: object) -> VideoViT:
    torch.manual_seed(0)
    vit = VideoViT(
        width=32, depth=2, patch=8, frames=4, size=16, heads=2, **more
    ).eval()
    for block in vit.blocks:  # LocalTemporal starts at zero; wake it up
        for temporal in (block.before, block.after):
            if temporal is not None:
                torch.nn.init.normal_(temporal.up.weight, std=0.2)
    return vit


def test_local_temporal_is_a_depthwise_convolution_over_frames() -> None:
    torch.manual_seed(0)
    temporal = LocalTemporal(8)
    torch.nn.init.normal_(temporal.up.weight)
    torch.nn.init.normal_(temporal.kernel_bias)
    x = torch.randn(2, 5, 3, 8)
    y = temporal.down(temporal.norm(x))
    # (b, t, n, c) -> (b * n, c, t) for torch's own convolution
    y = torch.nn.functional.conv1d(
        y.permute(0, 2, 3, 1).flatten(0, 1),
        temporal.kernel.T[:, None],
        temporal.kernel_bias,
        padding=1,
        groups=4,
    )
    y = y.unflatten(0, (2, 3)).permute(0, 3, 1, 2)
    torch.testing.assert_close(temporal(x), temporal.up(y * torch.sigmoid(1.702 * y)))


def test_a_new_temporal_layer_changes_nothing() -> None:
    assert LocalTemporal(8)(torch.randn(1, 4, 2, 8)).abs().max() == 0


def test_output_is_the_mean_class_token_then_all_patches() -> None:
    vit, video = _vit(), torch.randn(2, 3, 4, 16, 16)
    tokens = vit(video)
    assert tokens.values.shape == (2, 1 + 4 * 4, 32)
    assert tokens.mask is None


def test_frames_see_each_other_only_through_temporal_layers() -> None:
    video = torch.randn(1, 3, 4, 16, 16)
    swapped = video[:, :, [1, 0, 2, 3]]
    still = _vit(temporal="none")
    torch.testing.assert_close(still(video).values[:, 0], still(swapped).values[:, 0])
    moving = _vit()
    assert not torch.allclose(moving(video).values[:, 0], moving(swapped).values[:, 0])


def test_one_encoder_takes_any_number_of_frames() -> None:
    vit, video = _vit(), torch.randn(2, 3, 6, 16, 16)
    assert vit(video).values.shape == (2, 1 + 6 * 4, 32)
    assert vit(video[:, :, :3]).values.shape == (2, 1 + 3 * 4, 32)


def test_an_image_is_one_frame_that_the_temporal_layers_leave_alone() -> None:
    vit, image = _vit(), torch.randn(2, 3, 16, 16)
    without = _vit(temporal="none")
    without.load_state_dict(vit.state_dict(), strict=False)
    encoded = vit(image).values
    assert torch.equal(encoded, vit(image.unsqueeze(2)).values)
    assert torch.equal(encoded, without(image).values)
    # Each frame of a still video sees itself before and after, which is not the identity.
    assert not torch.allclose(
        vit(image.unsqueeze(2).repeat(1, 1, 2, 1, 1)).values[:, 0], encoded[:, 0]
    )


def test_time_is_mixed_where_down_sampling_leaves_one_frame() -> None:
    vit, video = _vit(temporal_stride=2), torch.randn(1, 3, 2, 16, 16)
    without = _vit(temporal_stride=2, temporal="none")
    without.load_state_dict(vit.state_dict(), strict=False)
    assert vit(video).values.shape == (1, 1 + 4, 32)
    assert not torch.allclose(vit(video).values, without(video).values)


def test_recompute_gives_the_same_gradients() -> None:
    video = torch.randn(1, 3, 4, 16, 16)
    gradients = []
    for recompute in ("none", "all"):
        vit = _vit(recompute=recompute)
        vit(video).values.square().sum().backward()
        gradients.append([p.grad for p in vit.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_attention_drops_weights_in_training_alone() -> None:
    image = torch.randn(2, 3, 16, 16)
    torch.manual_seed(0)
    plain = ImageViT(width=32, depth=1, patch=8, size=16, heads=2)
    dropping = ImageViT(
        width=32, depth=1, patch=8, size=16, heads=2, attention_dropout=0.5
    )
    dropping.load_state_dict(plain.state_dict())
    assert torch.equal(plain(image).values, plain(image).values)
    assert not torch.equal(dropping(image).values, dropping(image).values)
    assert torch.equal(dropping.eval()(image).values, plain.eval()(image).values)


def test_an_image_is_a_clip_of_one_frame() -> None:
    torch.manual_seed(0)
    vit = ImageViT(width=32, depth=1, patch=8, size=16, heads=2).eval()
    assert vit(torch.randn(2, 3, 16, 16)).values.shape == (2, 5, 32)


def test_released_temporal_down_sampling_halves_the_frames() -> None:
    assert _vit(temporal_stride=2)(torch.randn(1, 3, 4, 16, 16)).values.shape == (
        1,
        1 + 2 * 4,
        32,
    )


def test_quick_gelu_has_the_gradient_of_its_equation() -> None:
    x = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    (written,) = torch.autograd.grad((x * torch.sigmoid(1.702 * x)).sum(), x)
    (ours,) = torch.autograd.grad(quick_gelu(x).sum(), x)
    torch.testing.assert_close(ours, written)
