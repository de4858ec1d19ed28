"""Sheet: a page with the picture of every case, to look the data set over."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from unetr_app.io import write_text
from unetr_app.notice import RESEARCH_NOTICE

SHEET = "sheet.html"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(30rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; }
img { width: 100%; height: auto; background: #1c1c1c; }
figcaption strong { font-weight: 600; }
.warning { color: #8a3b00; }
"""


def write_sheet(out: Path, name: str, rows: Sequence[tuple[dict[str, Any], int, str]]) -> Path:
    """Write the page; pictures are referred to, not copied.

    Args:
        out: The data set.
        name: Its name.
        rows: Report, fold and relative path of the picture of each case.

    Raises:
        UnwritableOutput: If it could not be written whole.
    """
    figures = "\n".join(_figure(*row) for row in rows)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(name)}: {len(rows)} cases</h1>\n<p>{escape(RESEARCH_NOTICE)}</p>\n"
        f'<div class="cases">\n{figures}\n</div>\n</body>\n</html>\n'
    )
    return write_text(out / SHEET, page)


def _figure(report: dict[str, Any], fold: int, picture: str) -> str:
    case_id = escape(str(report["case_id"]))
    said = [f"fold {fold}", " x ".join(str(n) for n in report["shape"])]
    said.append(" x ".join(f"{mm:.3g}" for mm in report["spacing"]) + " mm")
    notes = [f"no voxel of {name}" for name in report["empty"]] + list(report["warnings"])
    warning = f'<br><span class="warning">{escape("; ".join(notes))}</span>' if notes else ""
    return (
        f'<figure><img src="{escape(picture)}" loading="lazy" alt="Labels of {case_id} in three '
        f'planes"><figcaption><strong>{case_id}</strong>: {escape(", ".join(said))}{warning}'
        "</figcaption></figure>"
    )
