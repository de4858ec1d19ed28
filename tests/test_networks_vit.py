from __future__ import annotations

from typing import Any

import pytest
import torch

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders import VisionTransformer


def _tiny(roi_size: tuple[int, ...] = (16, 16, 16), **options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    small: dict[str, Any] = {"patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2}
    return VisionTransformer(1, roi_size, spatial_dims=len(roi_size), **(small | options)).eval()


@pytest.mark.parametrize("patch", [4, (8, 4, 2), (16, 8, 16)])
def test_any_patch_anisotropic_too(patch: Any) -> None:
    encoder = _tiny((16, 24, 32), patch_size=patch)
    one_an_axis = (patch,) * 3 if isinstance(patch, int) else patch
    assert encoder.strides == (one_an_axis,) * 3
    grid = [n // p for n, p in zip((16, 24, 32), one_an_axis, strict=True)]
    assert encoder(torch.zeros(1, 1, 16, 24, 32))[0].shape == (1, 12, *grid)


def test_taps_choose_the_blocks_and_default_to_four_even_ones() -> None:
    assert _tiny(depth=12).taps == [3, 6, 9, 12]
    assert _tiny(depth=2).taps == [1, 2]
    encoder = _tiny(depth=3, taps=[2, 3])
    seen: list[torch.Tensor] = []
    encoder.blocks[1].register_forward_hook(lambda _m, _i, out: seen.append(out))
    maps = encoder(torch.randn(1, 1, 16, 16, 16))
    torch.testing.assert_close(maps[0], seen[0].transpose(1, 2).reshape(maps[0].shape))


def test_the_last_map_is_normed() -> None:
    last = _tiny()(torch.randn(1, 1, 16, 16, 16))[-1]
    torch.testing.assert_close(last.mean(1), torch.zeros(1, 2, 2, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(24, 16, 32), (8, 8, 8)])
def test_inputs_of_another_size_than_the_roi_are_taken(shape: tuple[int, int, int]) -> None:
    maps = _tiny()(torch.randn(1, 1, *shape))
    assert maps[0].shape[2:] == tuple(n // 8 for n in shape)


def test_tokens_know_their_place() -> None:
    encoder = _tiny()
    constant = encoder(torch.ones(1, 1, 16, 16, 16))[0]
    assert not torch.allclose(constant[..., 0, 0, 0], constant[..., 1, 1, 1])


def test_checkpointing_changes_memory_alone() -> None:
    plain, frugal = _tiny(), _tiny(gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    gradients = []
    for encoder in (plain.train(), frugal.train()):
        encoder(image)[-1].square().sum().backward()
        gradients.append(encoder.embed.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"embed_dim": 13}, "no multiple of num_heads"),
        ({"patch_size": 7}, "no multiple of patch_size"),
        ({"patch_size": 32}, "no multiple of patch_size"),
        ({"taps": [1, 2]}, "do not fit 3 blocks"),
        ({"taps": [2, 1, 3]}, "do not fit 3 blocks"),
        ({"taps": [0, 3]}, "do not fit 3 blocks"),
        ({"taps": []}, "do not fit 3 blocks"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


def test_an_input_that_the_patch_does_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no multiple of the patch"):
        _tiny()(torch.zeros(1, 1, 16, 12, 16))
