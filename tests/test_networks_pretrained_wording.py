"""Errors that name the file."""

from __future__ import annotations

import pytest

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.pretrained.wording import errors_in_words


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("norm.weight"), "the tensor 'norm.weight' is missing"),
        (RuntimeError("shape [3]"), "make no encoder: shape"),
        (ZeroDivisionError("by zero"), "make no encoder: by zero"),
        (UnusableWeights("it is cut", cure="Again."), "it is cut. Again."),
    ],
)
def test_every_error_names_the_file_and_a_cure(error: Exception, said: str) -> None:
    with (
        pytest.raises(UnusableWeights, match=r"vit\.pt: ") as caught,
        errors_in_words("folder/vit.pt", "encoder"),
    ):
        raise error
    assert said in str(caught.value)
    assert caught.value.cure
    assert "folder" not in str(caught.value)


def test_others_pass() -> None:
    with pytest.raises(UnusableWeights, match=r"other\.pt"), errors_in_words("vit.pt", "encoder"):
        raise UnusableWeights("it is cut", path="other.pt")
    with pytest.raises(InvalidRequest), errors_in_words("vit.pt", "encoder"):
        raise InvalidRequest("a question")
