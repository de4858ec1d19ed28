from __future__ import annotations

import re

import pytest

from tests.napari_out import require_napari
from unetr_app.errors import InvalidRequest
from unetr_app.review import keys
from unetr_app.review.keys import GRADES, KEYS, find_key, key_map, tooltip


def spelled(text):
    """A key's parts in one order, the modifiers first: as napari and Qt both may write it."""
    *modifiers, key = text.split("+")
    return (*sorted(modifiers), key.casefold())


OURS = {spelled(text): text for key in KEYS for text in key.keys}


def test_an_action_has_one_row_and_a_key_one_meaning():
    actions = [key.action for key in KEYS]
    assert len(set(actions)) == len(actions)
    assert len(OURS) == sum(len(key.keys) for key in KEYS)


def test_every_row_can_be_read_by_people():
    for key in KEYS:
        assert key.keys
        assert not key.words[0].islower()
        assert not key.words.endswith(".")


def test_a_tooltip_names_what_is_done_and_every_key():
    assert tooltip("redo") == "Redo the step undone last (Ctrl+Shift+Z or Ctrl+Y)"
    assert tooltip("undo", "Undo: brush") == "Undo: brush (Ctrl+Z)"
    for n, meaning in enumerate(GRADES, start=1):
        assert tooltip(f"grade_{n}") == f"Grade {n} of 5, {meaning} ({n})"


def test_an_unknown_action_is_told_what_there_is():
    with pytest.raises(InvalidRequest) as told:
        find_key("aceppt")
    assert "accept" in str(told.value)


def test_the_key_map_has_every_key_once():
    table = key_map()
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(KEYS)
    for key in KEYS:
        for text in key.keys:
            assert sum(f"`{text}`" in row.split("|")[1] for row in rows) == 1


def clashes_told():
    """Keys in the first column of the docstring's table."""
    table = (keys.__doc__ or "").split("clashes::")[1].split("Left to napari")[0]
    lines = [line.strip() for line in table.splitlines() if line.strip()][1:]
    columns = [re.split(r"\s{2,}", line)[0] for line in lines]
    return {spelled(text) for column in columns for text in column.split(" ")}


def test_the_clashes_with_napari_are_those_that_are_told_of():
    require_napari()
    from app_model.types import KeyBinding, KeyCode, KeyMod
    from napari.layers import Labels
    from napari.utils.shortcuts import default_shortcuts

    theirs = {str(binding) for bindings in default_shortcuts.values() for binding in bindings}
    theirs |= {str(KeyBinding.validate(binding)) for binding in Labels.class_keymap}
    theirs.add(str(KeyBinding.from_int(KeyMod.CtrlCmd | KeyCode.KeyS)))  # file menu
    clashing = {spelled(text) for text in theirs} & set(OURS)
    assert clashes_told() == clashing


def test_what_is_left_to_napari_is_not_taken():
    for text in ("Space", "M", "Z", "-", "=", "Left", "Right"):
        assert spelled(text) not in OURS
