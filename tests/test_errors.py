from __future__ import annotations

import pytest

from unetr_app import errors
from unetr_app.errors import UnetrError, UnreadableInput, UnusableBundle, UnusableWeights


def test_a_message_names_file_cause_and_cure_but_no_folder() -> None:
    error = UnreadableInput("the file is empty", cure="Copy it again.", path="/home/doe_jane/a.nii")
    assert str(error) == "a.nii: the file is empty. Copy it again."
    assert error.cause == "a.nii: the file is empty"
    assert "doe_jane" not in str(error)


def test_without_cure_or_path_the_cause_stands_alone() -> None:
    assert str(UnetrError("no window fits")) == "no window fits"


def _tree(base: type[UnetrError]) -> set[type[UnetrError]]:
    return {base}.union(*(_tree(child) for child in base.__subclasses__()))


def test_every_error_has_a_code_of_its_own_and_stands_in_the_drawn_tree() -> None:
    tree = {e for e in _tree(UnetrError) if e.__module__ == errors.__name__}
    assert len({e.code for e in tree}) == len(tree)
    for error in tree:
        assert error.__name__ in (errors.__doc__ or "")
    assert issubclass(UnusableWeights, UnusableBundle)


def test_one_base_catches_all() -> None:
    with pytest.raises(UnetrError):
        raise UnusableWeights("no weights")
