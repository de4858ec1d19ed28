from __future__ import annotations

import numpy as np
import pytest

from unetr_app.errors import InvalidRequest
from unetr_app.labels import Code, Label, LabelSet


@pytest.fixture
def labels() -> LabelSet:
    return LabelSet((Label(7, "Liver", (1, 2, 3)), Label(2, "Spleen")))


def test_labels_stand_in_order_of_value(labels: LabelSet) -> None:
    assert labels.values == (2, 7)
    assert labels.names == ("Spleen", "Liver")
    assert [label.value for label in labels] == [2, 7]
    assert len(labels) == 2


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_the_smallest_integer_holds_every_value(value: int, dtype: type) -> None:
    assert LabelSet((Label(value, "last"),)).dtype == dtype


def test_a_label_is_found_by_name_in_any_case_or_by_value(labels: LabelSet) -> None:
    assert labels.find("liver") == labels.find("7") == labels.find(7)


def test_an_unknown_label_lists_what_there_is(labels: LabelSet) -> None:
    with pytest.raises(InvalidRequest, match="2 Spleen, 7 Liver"):
        labels.find("heart")


def test_a_subset_keeps_values(labels: LabelSet) -> None:
    assert labels.subset(["Liver", 7, "liver"]).values == (7,)


def test_background_is_no_label() -> None:
    assert LabelSet.from_names({0: "background", 1: "tumour"}).values == (1,)
    with pytest.raises(InvalidRequest):
        Label(0, "background")


@pytest.mark.parametrize(
    "pair", [(Label(1, "a"), Label(1, "b")), (Label(1, "a"), Label(2, "a"))], ids=["value", "name"]
)
def test_two_labels_never_share_value_or_name(pair: tuple[Label, Label]) -> None:
    with pytest.raises(InvalidRequest, match="share"):
        LabelSet(pair)


def test_colours_of_neighbours_differ() -> None:
    colours = [Label(value, "x").colour for value in range(1, 25)]
    assert len(set(colours)) == len(colours)
    assert Label(3, "x", (9, 8, 7)).colour == (9, 8, 7)


def test_names_change_values_do_not(labels: LabelSet) -> None:
    assert labels.renamed({7: "Hepar"}).find("Hepar").value == 7


def test_codes_compare_by_value() -> None:
    assert Code("SCT", "10200004", "Liver") == Code("SCT", "10200004", "Liver")
