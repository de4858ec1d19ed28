"""Draws the pictures of docs/review.md: a made-up abdominal CT in the review window.

    python docs/pictures/draw_review.py

Needs a display; without one: ``xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python ...``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.phantom import oblique_geometry, phantom
from data.phantom_files import write_nifti
from tests.napari_out import add_case, write_image
from tests.review_stage import Hands
from unetr_app.outputs import MAPS
from unetr_app.volume import Segmentation


def worklist(folder: Path) -> Path:
    """Five made-up CTs, their labels a little wrong, with maps of uncertainty."""
    out = folder / "out"
    grid = oblique_geometry((150, 120, 60), (2.2, 2.2, 4.0), (4, -3, 6), (-160, -130, -120))
    for n in range(1, 6):
        volume, truth = phantom(grid, "ct", seed=n)
        wrong = ndimage.binary_dilation(truth.data == 1, iterations=3) & (truth.data == 0)
        data = np.where(wrong, 1, truth.data).astype(truth.data.dtype)
        image = write_image(folder / f"ct_{n}.nii.gz", volume)
        made = Segmentation(data, grid, truth.labels)
        add_case(out, image, (volume, made), case_id=f"ct_{n}")
        edge = ndimage.gaussian_filter(wrong.astype(np.float32), 1.5)
        write_nifti(edge / edge.max(), grid, out / f"ct_{n}" / MAPS["uncertainty"])
    return out


def main() -> None:
    """Walk through the window and keep what it shows."""
    from imageio.v3 import imwrite

    from unetr_app.napari.reviewing.program import open_window

    pictures = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        window = open_window(worklist(Path(folder)), reviewer="reviewer")
        hands = Hands(window)
        hands.wait_for_case("ct_1")
        hands.key("A")
        hands.key("N")
        hands.wait_for_case("ct_2")
        hands.key("F")
        hands.key("N")
        hands.wait_for_case("ct_3")
        hands.key("4")
        window.labels.jump(1)
        hands.settle(0.5)
        imwrite(pictures / "review_window.png", hands.window_picture())
        hands.key("E")
        point = window.views.point
        hands.drag([point, (point[0], point[1] + 30, point[2] + 20)])
        window.edits.operate("grow", {"value": 2, "mm": 4.0})
        window.panel.show_page(window.panel.edit)
        imwrite(pictures / "review_edit.png", hands.window_picture())
        hands.key("Ctrl+S")
        hands.key("V")
        window.compare.show_difference(True)
        window.panel.compare.show_difference(True)
        window.compare.compare("prediction", "current edit")
        hands.wait(lambda: window.panel.compare.model.rowCount() > 0, "the comparison")
        hands.settle(0.5)
        window.panel.show_page(window.panel.compare)
        imwrite(pictures / "review_compare.png", hands.window_picture())
        window.compare.show_difference(False)
        window.uncertainty.show_map(True)
        hands.key("U")
        window.panel.show_page(window.panel.uncertainty)
        hands.settle(0.5)
        imwrite(pictures / "review_uncertainty.png", hands.window_picture())
        window.bench.viewer.close()


if __name__ == "__main__":
    main()
