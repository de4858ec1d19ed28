from __future__ import annotations

from pathlib import Path

import pytest

from tests.encoder_fixtures import FIXTURES, OF_IMAGES, folder_of
from unetr_app.networks import LoadReport, TensorRecord, encoder_from_checkpoint
from unetr_app.networks.pretrained.report import Status, name_some


def _record(name: str, status: Status, *shape: int, note: str = "") -> TensorRecord:
    return TensorRecord(name, status, shape, note=note)


REPORT = LoadReport(
    "timm ViT",
    "vit",
    (
        _record("head.weight", "skipped", 5, 8, note="classification head"),
        _record("blocks.0.norm.weight", "loaded", 8),
        _record("blocks.0.norm.bias", "loaded", 8),
        _record("embed.weight", "inflated", 8, 1, 2, 4, 4, note="3 channels to 1"),
        _record("blocks.10.norm.weight", "loaded", 16),
        _record("blocks.10.norm.bias", "loaded", 16),
        _record("positions", "resized", 1, 8, 4, note="from 1 x 8 x 9"),
        _record("blocks.0.bn.weight", "loaded", 8),
        _record("blocks.0.bn.bias", "loaded", 8),
        TensorRecord("blocks.0.bn.running_mean", "loaded", (8,), is_parameter=False),
        _record("head.bias", "skipped", 5, note="classification head"),
        _record("mask", "skipped", note="for training by masking"),
        _record("probe", "missing", 60),
    ),
)


def test_the_coverage_is_the_share_of_the_encoders_parameters_that_were_filled() -> None:
    filled = 8 + 8 + 256 + 16 + 16 + 32 + 8 + 8
    assert REPORT.coverage == filled / (filled + 60)
    assert LoadReport("a", "vit", ()).coverage == 0
    assert LoadReport("a", "vit", (_record("head", "skipped", 3),)).coverage == 0


def test_tensors_of_one_kind_share_a_row() -> None:
    assert REPORT.rows() == [
        ("loaded", "4", "blocks.*.norm.weight, bias", "to 16", ""),
        ("loaded", "3", "blocks.*.bn.*", "8", ""),
        ("inflated", "1", "embed.weight", "8 x 1 x 2 x 4 x 4", "3 channels to 1"),
        ("resized", "1", "positions", "1 x 8 x 4", "from 1 x 8 x 9"),
        ("missing", "1", "probe", "60", ""),
        ("skipped", "2", "head.*", "to 5 x 8", "classification head"),
        ("skipped", "1", "mask", "1", "for training by masking"),
    ]
    assert sum(int(row[1]) for row in REPORT.rows()) == len(REPORT.records)


def test_tensors_of_one_module_with_other_notes_do_not() -> None:
    records = [_record(f"stages.{n}.a.w", "inflated", 4, note=f"way {n % 2}") for n in range(4)]
    assert [row[1:] for row in LoadReport("a", "b", tuple(records)).rows()] == [
        ("2", "stages.*.a.w", "4", "way 0"), ("2", "stages.*.a.w", "4", "way 1"),
    ]  # fmt: skip


def test_the_records_of_a_status_and_the_summary() -> None:
    assert [r.name for r in REPORT.of("skipped")] == ["head.weight", "head.bias", "mask"]
    assert REPORT.of("missing")[0].count == 60
    assert REPORT.summary() == (
        "timm ViT into vit: 85.4% covered; 7 loaded, 1 inflated, 1 resized, 1 missing, 3 skipped"
    )


def test_a_note_without_room_beside_its_row_stands_below_it() -> None:
    note = "a long story of what became of it " * 5
    report = LoadReport("a", "b", (_record("x.y", "loaded", 4, note=note.strip()),), "Input: grey.")
    lines = str(report).splitlines()
    assert lines[0] == report.summary()
    assert lines[1] == "Input: grey."
    assert lines[3].split() == ["loaded", "1", "x.y", "4"]
    assert len(lines) > 5
    assert all(len(line) <= 100 for line in lines)
    assert " ".join(" ".join(lines[4:]).split()) == note.strip()
    assert all(line.startswith(" " * lines[3].index("x.y")) for line in lines[4:])


def test_a_row_without_a_note_is_whole_however_long() -> None:
    name = "module." * 20 + "weight"
    report = LoadReport("a", "b", (_record(name, "loaded", 4, 5),))
    assert report.table().splitlines()[-1].split(maxsplit=3) == ["loaded", "1", name, "4 x 5"]


@pytest.mark.parametrize(
    ("name", "dims"),
    [*((name, 3) for name in sorted(FIXTURES)), *((name, 2) for name in OF_IMAGES)],
)
def test_the_report_of_every_fixture_fits_a_screen(name: str, dims: int, shared: Path) -> None:
    encoder, report = encoder_from_checkpoint(folder_of(shared, name), spatial_dims=dims)
    lines = report.table().splitlines()
    assert len(lines) <= 40
    assert max(len(line) for line in lines) <= 100
    own = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    for record in report.records:
        assert record.status == "skipped" or record.shape == own[record.name]


def test_a_list_for_a_sentence() -> None:
    assert name_some(["a"]) == "a"
    assert name_some(iter("abc"), most=3) == "a, b, c"
    assert name_some("abcd", most=2) == "a, b and 2 more"
