"""Codes: what a label has goes in and comes out; what it has not is made up, always alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from unetr_app.io.dicom.codes import (
    LOCAL_SCHEME,
    code_in,
    codes_of,
    item_of,
    local_code_warnings,
    local_scheme,
)
from unetr_app.labels import Code, Label

TEXT = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=16)


@given(scheme=TEXT, value=st.one_of(TEXT, st.just("1" * 18)), meaning=TEXT)
def test_a_code_comes_back(scheme: str, value: str, meaning: str) -> None:
    dataset = Dataset()
    dataset.SegmentedPropertyTypeCodeSequence = [item_of(Code(scheme, value, meaning))]
    found = code_in(dataset, "SegmentedPropertyTypeCodeSequence")
    assert found == Code(scheme, value, meaning)
    assert ("LongCodeValue" in dataset.SegmentedPropertyTypeCodeSequence[0]) == (len(value) > 16)


def test_no_code_is_none() -> None:
    dataset = Dataset()
    assert code_in(dataset, "SegmentedPropertyTypeCodeSequence") is None
    dataset.SegmentedPropertyTypeCodeSequence = []
    assert code_in(dataset, "SegmentedPropertyTypeCodeSequence") is None
    dataset.SegmentedPropertyTypeCodeSequence = [Dataset()]
    assert code_in(dataset, "SegmentedPropertyTypeCodeSequence") is None


@given(one=TEXT, other=TEXT)
def test_local_codes_follow_the_name(one: str, other: str) -> None:
    mine, theirs = codes_of(Label(1, one)).type, codes_of(Label(9, other)).type
    assert (mine == theirs) == (one == other)
    assert mine.scheme == LOCAL_SCHEME
    assert len(mine.value) <= 16


def test_a_meaning_keeps_to_the_rules() -> None:
    item = item_of(Code("SCT", "1", "back\\slash " + "x" * 80))
    assert len(item.CodeMeaning) == 64
    assert item.CodeMeaning.startswith("back/slash x")


def test_labels_with_codes_keep_them_and_need_no_warning() -> None:
    kind = Code("SCT", "10200004", "Liver")
    category = Code("SCT", "91723000", "Anatomical Structure")
    liver = Label(1, "liver", type=kind, category=category)
    assert (codes_of(liver).type, codes_of(liver).category) == (kind, category)
    assert not codes_of(liver).is_local
    assert local_code_warnings([liver]) == ()
    (warning,) = local_code_warnings([liver, Label(2, "rest")])
    assert "rest" in warning
    assert "liver" not in warning
    assert local_scheme().CodingSchemeDesignator == LOCAL_SCHEME
