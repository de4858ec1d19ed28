"""Plots: charts of an evaluation as SVG text, coloured by the page's style sheet.

Every dot carries its case and value as a title, which browsers show under the pointer; nothing
needs a script. Classes used: ``axis``, ``grid``, ``box``, ``median``, ``dot``, ``mean``, ``bias``,
``limit``; text inherits the page's colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_WIDTH, _NAMES, _RIGHT = 860, 200, 24  # px: of the whole, of the column of names, of the margin
_ROW, _TOP, _BOTTOM = 44, 8, 42
_PANEL_WIDTH, _PANEL_HEIGHT = 410, 270
_LEFT, _LOW = 62, 44
_LONGEST_NAME = 28


@dataclass(frozen=True)
class Strip:
    """One row of a strip chart.

    Args:
        name: Written at the left.
        values: One a case; finite.
        case_ids: Of the same length.
    """

    name: str
    values: tuple[float, ...]
    case_ids: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """Values to px along one side of a chart.

    Args:
        low: Value at ``start``.
        high: Value at ``stop``; above ``low``.
        start: px.
        stop: px; may be below ``start``.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Px of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Three to seven round values within the scale."""
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def strip_chart(
    title: str, strips: Sequence[Strip], *, limits: tuple[float, float] | None = None
) -> str:
    """A box with its dots for each row: quartiles, median, mean, every case.

    Args:
        title: Written below the axis, with the unit.
        strips: Rows from the top; those without values stay empty.
        limits: Ends of the axis; where absent, they hold 0 and all values.

    Returns:
        An ``<svg>`` element.
    """
    height = _TOP + _ROW * len(strips) + _BOTTOM
    values = [v for strip in strips for v in strip.values]
    scale = Scale(*(limits or _span([0.0, *values])), _NAMES, _WIDTH - _RIGHT)
    base = _TOP + _ROW * len(strips)
    parts = [_across(scale, base), _words(_NAMES / 2 + _WIDTH / 2, height - 6, title)]
    for n, strip in enumerate(strips):
        middle = _TOP + _ROW * (n + 0.5)
        parts += [_name(strip.name, middle), *_strip(strip, scale, middle)]
    return _svg(_WIDTH, height, title, parts)


def agreement_chart(
    name: str, predicted: Sequence[float], reference: Sequence[float], case_ids: Sequence[str]
) -> str:
    """Bland-Altman chart of volumes: difference against mean, with bias and limits of agreement.

    Args:
        name: What is compared.
        predicted: ml, one a case.
        reference: ml, of the same length.
        case_ids: Of the same length.

    Returns:
        An ``<svg>`` element; lines are the mean difference and, for two cases or more, 1.96
        standard deviations (divisor n - 1) to either side.
    """
    ours, theirs = np.asarray(predicted, dtype=float), np.asarray(reference, dtype=float)
    mean, difference = (ours + theirs) / 2, ours - theirs
    lines = _lines_of_agreement(difference)
    x = Scale(*_span(mean), _LEFT, _PANEL_WIDTH - 14)
    y = Scale(*_span([*difference, *(v for v, _ in lines), 0.0]), _PANEL_HEIGHT - _LOW, 26)
    parts = [_across(x, _PANEL_HEIGHT - _LOW), _upwards(y, x)]
    for value, kind in lines:
        parts.append(_line((x.start, y(value)), (x.stop, y(value)), kind))
        parts.append(
            f'<text class="small" x="{x.stop}" y="{y(value) - 4}" text-anchor="end">'
            f"{_sign(value)}</text>"
        )
    for a, b, case_id in zip(mean, difference, case_ids, strict=True):
        said = f"{case_id}: mean {a:.3f} ml, difference {_sign(b)} ml"
        parts.append(_dot(x(a), y(b), said))
    parts += [
        _words(_PANEL_WIDTH / 2 + 20, _PANEL_HEIGHT - 6, "mean of both (ml)"),
        f'<text class="strong" x="{_LEFT}" y="15">{escape(_short(name))}</text>',
        f'<text transform="translate(14 {_PANEL_HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        "prediction - reference (ml)</text>",
    ]
    return _svg(_PANEL_WIDTH, _PANEL_HEIGHT, f"Agreement of volumes: {name}", parts)


def _lines_of_agreement(difference: np.ndarray) -> list[tuple[float, str]]:
    if not difference.size:
        return []
    bias = float(difference.mean())
    if difference.size < 2:
        return [(bias, "bias")]
    half = 1.96 * float(difference.std(ddof=1))
    return [(bias, "bias"), (bias + half, "limit"), (bias - half, "limit")]


def _span(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of an axis that holds all values with some air."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(min(values)), float(max(values))
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        air = 0.1 * abs(high) or 1.0
    else:
        air = 0.06 * (high - low)
    return (low and low - air), high + air


def _strip(strip: Strip, scale: Scale, middle: float) -> list[str]:
    if not strip.values:
        return []
    lower, median, upper = (scale(float(q)) for q in np.percentile(strip.values, (25, 50, 75)))
    mean = scale(float(np.mean(strip.values)))
    dots = [
        _dot(scale(value), middle + _jitter(n), f"{case_id}: {value:.4g}")
        for n, (value, case_id) in enumerate(zip(strip.values, strip.case_ids, strict=True))
    ]
    return [
        f'<rect class="box" x="{lower}" y="{middle - 15}" width="{max(upper - lower, 1):.1f}" '
        'height="30"/>',
        *dots,
        _line((median, middle - 15), (median, middle + 15), "median"),
        f'<path class="mean" d="M{mean} {middle - 6}l5 6l-5 6l-5 -6z"/>',
    ]


def _jitter(n: int) -> float:
    """Up to 8 px up or down, the same at every drawing, spread evenly (golden ratio)."""
    return round(16 * ((n * 0.618034) % 1 - 0.5), 1)


def _across(scale: Scale, base: float) -> str:
    """Horizontal axis with ticks and lines up to the top."""
    parts = [_line((scale.start, base), (scale.stop, base), "axis")]
    for tick in scale.ticks:
        x = scale(tick)
        parts.append(_line((x, _TOP), (x, base), "grid"))
        parts.append(f'<text x="{x}" y="{base + 16}" text-anchor="middle">{tick:.6g}</text>')
    return "".join(parts)


def _upwards(scale: Scale, across: Scale) -> str:
    """Vertical axis with ticks."""
    parts = [_line((across.start, scale.start), (across.start, scale.stop), "axis")]
    for tick in scale.ticks:
        y = scale(tick)
        parts.append(_line((across.start, y), (across.stop, y), "grid"))
        parts.append(
            f'<text x="{across.start - 6}" y="{y + 4}" text-anchor="end">{tick:.6g}</text>'
        )
    return "".join(parts)


def _line(start: tuple[float, float], stop: tuple[float, float], kind: str) -> str:
    (x1, y1), (x2, y2) = start, stop
    return f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _dot(x: float, y: float, said: str) -> str:
    return (
        f'<circle class="dot" cx="{x}" cy="{y:.1f}" r="2.8"><title>{escape(said)}</title></circle>'
    )


def _name(name: str, y: float) -> str:
    return (
        f'<text x="{_NAMES - 10}" y="{y + 4}" text-anchor="end">{escape(_short(name))}'
        f"<title>{escape(name)}</title></text>"
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1].rstrip()}\u2026"


def _words(x: float, y: float, words: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle">{escape(words)}</text>'


def _sign(value: float) -> str:
    return f"{value:+.3f}"


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
