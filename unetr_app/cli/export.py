"""``unetr export``: a bundle's network as a file for other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr_app.cli.chosen_encoder import parse_triple
from unetr_app.cli.screen import note, say
from unetr_app.cli.stopping import StopRequest
from unetr_app.cli.trusting import TrustOption
from unetr_app.errors import InvalidRequest
from unetr_app.notice import RESEARCH_NOTICE

if TYPE_CHECKING:
    from unetr_app.bundle import BundleCard
    from unetr_app.inference.backends.export import Exported

EXAMPLES = """Examples:
  unetr export hippocampus_mr_unetr_segmentation --to onnx -o hippocampus.onnx
  unetr export my_bundle/ --to openvino -o my_bundle.xml
  unetr export my_bundle/ --to torchscript -o my_bundle.ts --roi-size 96

The file holds the network alone: it takes one window of the preprocessed image and gives logits.
Preprocessing, sliding windows and the way home stay in the bundle. It is read back and compared
with PyTorch before it appears under its name.

Exit codes: 0 done, 2 usage, or a bundle that cannot be used.
"""


def command(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Name or folder, see `unetr bundles`.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="FORM", help="onnx, openvino or torchscript.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE",
            help="Ends in .onnx; .xml (weights beside it in .bin); .ts or .pt.",
        ),
    ],
    roi_size: Annotated[
        str,
        typer.Option(
            "--roi-size", metavar="N|I,J,K", show_default="the bundle's",
            help="Voxels of a window, which the file is made for.",
        ),
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
    trust_it: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:  # fmt: skip
    """Write a bundle's network as ONNX, for OpenVINO, or as TorchScript, and verify the file."""
    from unetr_app.bundle import read_card
    from unetr_app.bundle.trust import require_trusted, trust

    card = read_card(bundle)
    asked = parse_triple(roi_size, "--roi-size", one_for_all=True)
    if trust_it:
        trust(card.path)
    else:
        require_trusted(card.path)
    with StopRequest() as stop, stop.at_once():
        exported, card = _export(
            card, to, Path(os.path.abspath(out)), asked, overwrite=overwrite, quiet=as_json
        )
    if as_json:
        say(json.dumps(_as_dict(exported)))
    else:
        _show(exported, card)


def _export(
    card: BundleCard, to: str, path: Path, asked: tuple[int, ...] | None, *, overwrite: bool,
    quiet: bool,
) -> tuple[Exported, BundleCard]:  # fmt: skip
    """What was written, and the card as the opened bundle has it."""
    from unetr_app.inference.backends.export import check_export, export_network

    check_export(to, path, overwrite=overwrite)
    from unetr_app.bundle import open_bundle

    opened = open_bundle(card.path, device="cpu")
    own = getattr(opened.inferer, "roi_size", None) or card.roi_size
    sizes = asked or ((own,) * 3 if isinstance(own, int) else tuple(int(n) for n in own))
    if asked and min(asked) < 1:
        raise InvalidRequest(
            f"--roi-size {_times(asked)} is no window", cure="Write 96 or 96,96,64."
        )
    if len(sizes) != 3 or min(sizes) < 1:
        raise InvalidRequest(
            f"{card.name} does not say how many voxels a window has",
            cure="Add --roi-size, as in --roi-size 96.",
        )
    if not quiet:
        note(f"Converting {card.name} to {to}, and reading it back.")
    window = (1, max(len(card.channels), 1), *sizes)
    done = export_network(opened.network, to, path, window=window, overwrite=overwrite)
    return done, opened.card


def _show(exported: Exported, card: BundleCard) -> None:
    main, *others = exported.files
    beside = f", with {', '.join(file.name for file in others)} beside it" if others else ""
    say(f"Written: {main}{beside}")
    shape = "any that the network takes, such as " if exported.any_size else ""
    say(f"Input{_name(exported.input_name)}: float32, {shape}{_times(exported.input_shape)}"
        f"{_listed('channels', card.channels)}; preprocessed as in the bundle")  # fmt: skip
    names = [name for _, name in card.outputs if len(card.outputs) == exported.output_shape[1]]
    say(f"Output{_name(exported.output_name)}: float32 logits, {_times(exported.output_shape)}"
        f"{_listed('channels', names)}")  # fmt: skip
    say(f"Verified: {exported.parity}")
    say(RESEARCH_NOTICE)


def _name(name: str) -> str:
    return f" {name}" if name else ""


def _listed(what: str, names: Sequence[str]) -> str:
    return f"; {what}: {', '.join(names)}" if names else ""


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in sizes)


def _as_dict(exported: Exported) -> dict[str, Any]:
    return {
        "files": [str(file) for file in exported.files],
        "input": {"name": exported.input_name, "shape": exported.input_shape},
        "output": {"name": exported.output_name, "shape": exported.output_shape},
        "any_size": exported.any_size,
        "largest_difference": exported.parity.difference,
        "labels_equal": exported.parity.agreement,
    }
