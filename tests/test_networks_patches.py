from __future__ import annotations

import pytest
import torch

from unetr_app.errors import InvalidRequest
from unetr_app.networks.patches import require_input, token_grid


def test_tokens_along_each_axis() -> None:
    assert token_grid((8, 16, 24), (4, 16, 8)) == (2, 1, 3)


@pytest.mark.parametrize("roi", [(8, 15), (4, 16)])
def test_a_patch_that_does_not_divide_is_refused(roi: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="no multiple of patch_size") as caught:
        token_grid(roi, (8, 8))
    assert str(roi) in str(caught.value)


def test_inputs_of_whole_patches_pass() -> None:
    require_input(torch.zeros(1, 1, 8, 12), 1, [4, 6])


@pytest.mark.parametrize("shape", [(8, 13), (7, 12)])
def test_other_inputs_are_refused_in_words(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"no multiple of \[4, 6\]"):
        require_input(torch.zeros(1, 1, *shape), 1, [4, 6])


@pytest.mark.parametrize("shape", [(8, 12), (1, 8, 12), (2, 3, 8, 12), (1, 1, 4, 8, 12), ()])
def test_other_axes_and_channels_are_refused_in_words(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"channels 1, 2 spatial axes") as caught:
        require_input(torch.zeros(shape), 1, [4, 6])
    assert str(list(shape)) in str(caught.value)
