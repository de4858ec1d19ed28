from dataclasses import replace
from pathlib import Path

import pytest

from tests.batch_fakes import FakeCard, write_bundle
from unetr_app.batch.fingerprint import Recipe, content_hash, file_hash
from unetr_app.batch.options import BatchOptions
from unetr_app.errors import UnreadableInput


def test_content_counts_and_names_and_order_do_not(tmp_path: Path):
    a, b, c = (tmp_path / name for name in "abc")
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    c.write_bytes(b"one")
    assert content_hash([a, b]) == content_hash([b, c])
    assert content_hash([a]) == content_hash([c]) == file_hash(a)
    assert len({content_hash(files) for files in ([a], [b], [a, b], [a, c], [a, b, c])}) == 5


def test_a_file_that_cannot_be_read_is_named_without_its_parents(tmp_path: Path):
    with pytest.raises(UnreadableInput, match=r"^gone\.nii: the file cannot be read"):
        file_hash(tmp_path / "gone.nii")


def test_each_part_of_a_recipe_changes_the_key(tmp_path: Path):
    card = FakeCard(write_bundle(tmp_path / "bundle"))
    recipe = Recipe.of(card, BatchOptions())
    keys = [
        recipe.key("input"),
        recipe.key("other input"),
        recipe.key("input", forced=True),
        replace(recipe, tool_version="0.0.0").key("input"),
        Recipe.of(card, BatchOptions(labels=(2,))).key("input"),
        Recipe.of(replace(card, name="other"), BatchOptions()).key("input"),
        Recipe.of(replace(card, version="9"), BatchOptions()).key("input"),
        Recipe.of(replace(card, weights_hash="00"), BatchOptions()).key("input"),
    ]
    (card.path / "configs/inference.yaml").write_text("network_def: another threshold\n")
    keys.append(Recipe.of(card, BatchOptions()).key("input"))
    assert len(set(keys)) == len(keys)


def test_the_same_recipe_gives_the_same_key(tmp_path: Path):
    here, there = (FakeCard(write_bundle(tmp_path / name)) for name in ("here", "there"))
    assert Recipe.of(here, BatchOptions()).key("x") == Recipe.of(there, BatchOptions()).key("x")
