import csv
import io
import json
import re
from html import escape
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr_app.evaluation import CaseComparison, LabelComparison, summarise
from unetr_app.evaluation.metrics import METRICS, definitions
from unetr_app.evaluation.plots import Scale, Strip, agreement_chart, strip_chart
from unetr_app.evaluation.report import Report, html_page
from unetr_app.evaluation.tables import cases_csv, summary_dict
from unetr_app.notice import RESEARCH_NOTICE

law = settings(deadline=None, max_examples=60)  # the machine may be busy

EVIL = '<script>alert("x")</script> & "co"'
PNG = b"\x89PNG\r\n\x1a\nnot really"


def row(value, dice, name="", status="compared"):
    return LabelComparison(
        value, name or f"label_{value}", status, 1.5, 1.2, dice=dice, hd95_mm=2.0, assd_mm=0.5,
        surface_dice=0.9, volume_difference_ml=0.3, volume_difference_percent=25.0,
    )  # fmt: skip


CASES = [
    CaseComparison("good", (row(1, 0.95), row(2, 0.8, EVIL))),
    CaseComparison("bad", (row(1, 0.0, status="missed"), row(2, 0.4, EVIL))),
    CaseComparison("part", (row(1, 0.7), LabelComparison(2, EVIL, "absent", 0.0, 0.0))),
]


def page(cases=CASES, pictures=(("bad", PNG),), **more):
    return html_page(Report(cases, summarise(cases), pictures, 1.0, **more))


class Tags(HTMLParser):
    """Collects tags, and fails where they are not balanced."""

    void = frozenset({"meta", "br", "img", "link", "input", "hr"})
    drawn = frozenset({"rect", "line", "circle", "path"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in self.drawn
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html):
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert tags.open == []
    return tags


def test_csv_has_a_row_for_each_case_and_label():
    rows = list(csv.DictReader(io.StringIO(cases_csv(CASES))))
    assert [(r["case_id"], r["label"], r["status"]) for r in rows] == [
        ("good", "1", "compared"), ("good", "2", "compared"), ("bad", "1", "missed"),
        ("bad", "2", "compared"), ("part", "1", "compared"), ("part", "2", "absent"),
    ]  # fmt: skip
    assert {metric.key for metric in METRICS} <= rows[0].keys()
    assert rows[0]["dice"] == "0.95"
    assert rows[-1]["dice"] == ""
    assert rows[1]["name"] == EVIL


def test_means_of_the_csv_are_those_of_the_summary():
    rows = list(csv.DictReader(io.StringIO(cases_csv(CASES))))
    dice = [float(r["dice"]) for r in rows if r["label"] == "2" and r["dice"]]
    told = summary_dict(summarise(CASES))
    assert told["labels"][1]["metrics"]["dice"]["mean"] == pytest.approx(np.mean(dice))


def test_summary_goes_through_json():
    told = json.loads(json.dumps(summary_dict(summarise(CASES)), allow_nan=False))
    assert [label["label"] for label in told["labels"]] == [1, 2]
    assert told["all_labels"]["metrics"]["dice"]["cases"] == 3
    low, high = told["labels"][0]["metrics"]["dice"]["interval_95"]
    assert low <= told["labels"][0]["metrics"]["dice"]["mean"] <= high
    assert summary_dict([]) == {"labels": [], "all_labels": None}


def test_page_needs_nothing_from_elsewhere_and_no_script():
    html = page(failed=[("lost", "lost.nii.gz: the file is empty")])
    tags = parsed(html)
    assert not {"script", "link", "iframe", "object"} & set(tags.seen)
    sources = [value for name, value in tags.attributes if name in ("src", "href", "data")]
    assert sources
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not re.search(r"https?://|@import|url\(", html)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]


def test_names_cannot_break_the_page():
    html = page(failed=[(EVIL, EVIL)], only_reference=[EVIL], pictures=[(EVIL, PNG)])
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    parsed(html)


def test_page_shows_summary_plots_pictures_cases_and_definitions():
    html = page(failed=[("lost", "lost.nii.gz: the file is empty")])
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "Cases without a result", "Summary", "Distributions", "Agreement of volumes",
        "Worst cases", "Every case", "Definitions",
    ]  # fmt: skip
    assert html.count(RESEARCH_NOTICE) == 2
    assert html.count("<svg") == 4  # Dice, HD95, agreement of two labels
    for words in definitions(1.0).values():
        assert escape(words) in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_worst_case_comes_first():
    table = page().split("<h2>Every case</h2>")[1]
    order = [table.index(f"<th scope='row'>{name}</th>") for name in ("bad", "part", "good")]
    assert order == sorted(order)


def test_a_page_without_any_case_says_why():
    html = page([], [], failed=[("a", "a.nii: the file is empty")], only_predicted=["b", "c"])
    parsed(html)
    assert "0 cases compared" in html
    assert "3 cases without a result" in html
    assert "a.nii: the file is empty" in html
    assert "2 predictions without a reference" in html
    assert "<svg" not in html


def test_labels_that_are_nowhere_leave_empty_rows():
    absent = [CaseComparison("a", (LabelComparison(1, "one", "absent", 0.0, 0.0),))]
    html = page(absent, pictures=())
    parsed(html)
    assert "nan" not in html.replace("finance", "")


@law
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=20),
    st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=20),
)
def test_charts_are_well_formed_and_within_their_frame(first, second):
    n = min(len(first), len(second))
    ids = [f"case {k}" for k in range(n)]
    chart = strip_chart("Dice", [Strip(EVIL, tuple(first[:n]), tuple(ids))])
    agreement = agreement_chart(EVIL, first[:n], second[:n], ids)
    for svg in (chart, agreement):
        root = ElementTree.fromstring(svg)
        width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
        circles = root.findall("circle")
        assert len(circles) == n
        for circle in circles:
            assert 0 <= float(circle.attrib["cx"]) <= width
            assert 0 <= float(circle.attrib["cy"]) <= height


def test_dots_lie_where_their_values_are():
    svg = strip_chart("Dice", [Strip("one", (0.0, 0.5, 1.0), ("a", "b", "c"))], limits=(0.0, 1.0))
    a, b, c = (float(x) for x in re.findall(r'cx="([\d.]+)"', svg))
    assert b - a == pytest.approx(c - b, abs=0.2)
    assert a < b < c


def test_agreement_shows_bias_and_limits():
    predicted, reference = [2.0, 3.0, 5.0], [1.0, 3.5, 4.0]
    difference = np.subtract(predicted, reference)
    svg = agreement_chart("one", predicted, reference, ["a", "b", "c"])
    half = 1.96 * difference.std(ddof=1)
    for value in (difference.mean(), difference.mean() + half, difference.mean() - half):
        assert f">{value:+.3f}<" in svg
    alone = agreement_chart("one", predicted[:1], reference[:1], ["a"])
    assert alone.count('class="limit"') == 0


@law
@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5))
def test_ticks_are_few_and_within(low, span):
    ticks = Scale(low, low + span, 0, 100).ticks
    assert 2 <= len(ticks) <= 12
    slack = 1e-6 * (span + abs(low))
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
