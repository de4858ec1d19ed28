"""``unetr encoders``: which encoders there are, and how a checkpoint fills one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import counted, say, show_table
from unetr_app.errors import InvalidRequest, UnetrError, UnusableWeights

if TYPE_CHECKING:
    from unetr_app.networks import LoadReport
    from unetr_app.networks.zoo import EncoderCard

EXAMPLES = """Examples:
  unetr encoders
  unetr encoders --json
  unetr encoders --load dinov2_vit_small_patch14/ --roi-size 96 --patch-size 8
  unetr encoders --load dinov2_vit_small_patch14/ --encoder timesformer --roi-size 32,112,112
  unetr encoders --load mit_b0/ --spatial-dims 2 --in-channels 3
  unetr encoders --load vit.pth --option num_heads=6 --option taps=3,6,12 --json

The list is of encoders built without options, for one grey volume of 96 x 96 x 96 voxels.
Params M: millions of parameters. GFLOP: thousand millions of operations of one forward pass; a
multiplication with its addition counts as two. Matrix products and convolutions are counted,
attention among them. Weights from: whose checkpoints fill it; --json names their layouts.

Exit codes: 0 done, 2 usage, or a checkpoint that cannot be used.
"""
_OF_THEIR_OWN = {  # arguments of `encoder_from_checkpoint` that are no --option
    "path": "--load", "spatial_dims": "--spatial-dims", "in_channels": "--in-channels",
    "roi_size": "--roi-size",
}  # fmt: skip


def command(
    load: Annotated[
        str | None,
        typer.Option(
            "--load", metavar="CHECKPOINT", show_default=False,
            help="Show what becomes of each tensor of a published checkpoint: a folder with "
                 "config.json and model.safetensors, a .safetensors, .pt or .pth file.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", metavar="NAME", show_default="the checkpoint's own",
            help="Build another encoder from it, such as timesformer from a vision transformer.",
        ),
    ] = None,
    spatial_dims: Annotated[
        int | None, typer.Option("--spatial-dims", metavar="2|3", show_default="3", help="Axes.")
    ] = None,
    in_channels: Annotated[
        int | None,
        typer.Option(
            "--in-channels", metavar="N", min=1, show_default="1", help="Channels of the image."
        ),
    ] = None,
    roi_size: Annotated[
        str | None,
        typer.Option(
            "--roi-size", metavar="N|D,H,W", show_default="the checkpoint's",
            help="Voxels of the input that positions are laid out for.",
        ),
    ] = None,
    patch_size: Annotated[
        str | None,
        typer.Option(
            "--patch-size", metavar="N|D,H,W", show_default="the checkpoint's",
            help="Voxels of a token.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="NAME=VALUE", show_default=False,
            help="Any other argument of encoder_from_checkpoint, as in num_heads=6; may come "
                 "several times.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:  # fmt: skip
    """List the encoders, or show how a checkpoint fills one and what it is then."""
    with _cures():
        if load is None:
            given = (encoder, spatial_dims, in_channels, roi_size, patch_size, option or None)
            if any(value is not None for value in given):
                raise InvalidRequest(
                    "the list takes no option but --json", cure="Add --load CHECKPOINT."
                )
            _list(as_json=as_json)
            return
        if not load:
            raise InvalidRequest("--load names no checkpoint", cure="Name a file or a folder.")
        arguments = _arguments(option or (), patch_size, encoder)
        sizes = {
            "spatial_dims": 3 if spatial_dims is None else spatial_dims,
            "in_channels": in_channels or 1,
            "roi_size": None if roi_size is None else _sizes(roi_size, "--roi-size"),
        }
        _show_loaded(os.path.abspath(load), {**sizes, **arguments}, as_json=as_json)


def _arguments(
    options: Sequence[str], patch_size: str | None, encoder: str | None
) -> dict[str, Any]:
    """What the user said beside path, axes, channels and roi_size, by the arguments' names."""
    from unetr_app.cli.chosen_encoder import parse_options

    found = parse_options(options)
    for name in found.keys() & _OF_THEIR_OWN.keys():
        raise InvalidRequest(f"{name} is no --option", cure=f"Say it with {_OF_THEIR_OWN[name]}.")
    said = {
        "patch_size": None if patch_size is None else _sizes(patch_size, "--patch-size"),
        "encoder": encoder,
    }
    given = {name: value for name, value in said.items() if value is not None}
    for name in found.keys() & given.keys():
        raise InvalidRequest(f"{name} is said twice, by --option too", cure="Keep one of them.")
    return found | given


def _sizes(text: str, option: str) -> int | tuple[int, ...]:
    """A number, or several with commas between."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise InvalidRequest(
            f"{option} is {text!r}, no whole numbers",
            cure=f"Write {option} 96 or {option} 48,96,96.",
        )
    numbers = tuple(int(part) for part in parts)
    return numbers[0] if len(numbers) == 1 else numbers


def _list(*, as_json: bool) -> None:
    from unetr_app.networks import ENCODERS
    from unetr_app.networks.zoo import encoder_card

    cards: list[EncoderCard] = []
    with count_bar("encoders", quiet=as_json) as show:
        for n, name in enumerate(sorted(ENCODERS)):
            cards.append(encoder_card(name))
            if show:
                show(n + 1, len(ENCODERS))
    if as_json:
        say(json.dumps([asdict(card) for card in cards]))
        return
    columns = ("Encoder", "Family", ">Params M", ">GFLOP", "Strides", "Weights from", "arXiv")
    show_table(columns, [_row(card) for card in cards])
    sizes = {card.roi_size for card in cards}
    for size in sorted(sizes):
        names = ", ".join(card.name for card in cards if card.roi_size == size)
        whose = "All" if len(sizes) == 1 else names
        say(f"{whose} with one channel of {_times(size)} voxels.")


def _row(card: EncoderCard) -> tuple[str, ...]:
    publishers = dict.fromkeys(layout.split()[0] for layout in card.layouts)
    return (
        card.name,
        card.family,
        f"{card.parameters / 1e6:.1f}",
        f"{card.flops / 1e9:.1f}",
        ", ".join(dict.fromkeys(_stride_words(stride) for stride in card.strides)),
        ", ".join(publishers) or "-",
        card.paper.removeprefix("arXiv:") or "-",
    )


def _show_loaded(path: str, arguments: dict[str, Any], *, as_json: bool) -> None:
    from unetr_app.networks import encoder_from_checkpoint
    from unetr_app.networks.zoo import count_parameters

    built, report = encoder_from_checkpoint(path, **arguments)
    encoder: Any = built
    axes, channels = arguments["spatial_dims"], arguments["in_channels"]
    total = count_parameters(built)
    if as_json:
        sizes = {
            "spatial_dims": axes, "in_channels": channels, "parameters": total,
            "channels": encoder.channels, "strides": encoder.strides,
        }  # fmt: skip
        say(json.dumps({"checkpoint": os.path.basename(path), **_as_dict(report), **sizes}))
        return
    table = f"{os.path.basename(path)}: {report.table()}"
    for line in table.splitlines():  # in full: a table of ours would crop names
        say(line)
    say(f"{report.encoder}: {total:,} parameters; reads {counted(channels, 'channel')} of {axes} "
        "axes.")  # fmt: skip
    maps = zip(encoder.channels, encoder.strides, strict=True)
    rows = [(str(n), str(width), _stride_words(stride)) for n, (width, stride) in enumerate(maps)]
    show_table(("Map", ">Channels", "Stride"), rows)


@contextmanager
def _cures() -> Iterator[None]:
    """An error that knows no cure gets the usual one of its kind."""
    usual = {
        UnusableWeights: "Get the file again from its source, with its config.json.",
        InvalidRequest: "See unetr encoders --help.",
    }
    try:
        yield
    except UnetrError as error:
        if not error.cure:
            error.cure = usual.get(type(error), "")
        raise


def _as_dict(report: LoadReport) -> dict[str, Any]:
    return {
        "layout": report.layout,
        "encoder": report.encoder,
        "coverage": report.coverage,
        "input_note": report.input_note,
        "overruled": report.overruled,
        "tensors": [asdict(record) for record in report.records],
    }


def _stride_words(stride: Sequence[int]) -> str:
    return str(stride[0]) if len(set(stride)) == 1 else _times(stride)


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(n) for n in sizes)
