"""The ``unetr`` command: finds the sub-command's module and imports that one alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import typer

from unetr_app.cli.exit_codes import INTERNAL, INTERRUPTED, NONE_DONE, USAGE
from unetr_app.cli.networks import is_of_networks
from unetr_app.cli.screen import complain
from unetr_app.cli.version import VersionOption
from unetr_app.errors import (
    Cancelled,
    InvalidRequest,
    UnetrError,
    UnusableBundle,
    UnwritableOutput,
)
from unetr_app.notice import NETWORK_ADVICE

COMMANDS = {
    "segment": "Segment images: files, folders, DICOM series.",
    "inspect": "Show which cases there are, their geometry and their problems.",
    "convert": "Convert a SEG, RTSTRUCT, label map or image to NIfTI or NRRD.",
    "dataset": "Make a data set for training from images and their labels.",
    "finetune": "Fine-tune a bundle on cases of your own, as a new one.",
    "evaluate": "Compare segmentations with a reference.",
    "review": "Look at segmentations, correct them, accept or reject.",
    "explain": "Show how an encoder sees: receptive field, attention, t-SNE.",
    "encoders": "List the encoders, or show how a checkpoint fills one.",
    "bundles": "List the bundles that are installed.",
    "export": "Write a bundle's network as ONNX, OpenVINO or TorchScript.",
    "deidentify": "Copy DICOM files without what tells whose they are.",
    "demo": "Segment both hippocampi of an average head, as a trial.",
}
_USAGE_ERRORS = (InvalidRequest, UnusableBundle, UnwritableOutput)  # the command names them

_EXAMPLES = """Examples:
  unetr demo -o demo
  unetr segment scans/ -o results --bundle hippocampus_mr_unetr_segmentation
  unetr evaluate results/ truth/ -o evaluation
"""

# Recent releases of Typer carry a Click of their own; its classes are reached through Typer's.
_ClickException: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _unwrapped(text: str) -> str:
    """Text that the help page shows line by line, as it is written."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.strip().split("\n\n"))


app = typer.Typer(
    name="unetr",
    help="Segment 3D medical images with transformer networks. Research use only.",
    epilog=_unwrapped(_EXAMPLES),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # drawing help pages with rich takes twice the time
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(version: VersionOption = False) -> None:  # pyright: ignore[reportUnusedFunction]
    pass


def _forwarder(name: str) -> Callable[[typer.Context], None]:
    """Stands for a sub-command in the list of commands, and runs it, without importing it yet."""

    def forward(ctx: typer.Context) -> None:
        raise typer.Exit(_run(_load(name), ctx.args, program=f"unetr {name}"))

    return forward


for _name, _help in COMMANDS.items():
    app.command(
        _name,
        help=_help,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_forwarder(_name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows ``unetr``; taken from the process where absent.

    Returns:
        The exit code, see `unetr_app.cli.exit_codes`.
    """
    args = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore
    name = args[0] if args else ""
    program = f"unetr {name}" if name in COMMANDS else "unetr"
    try:
        if name in COMMANDS:
            return _run(_load(name), args[1:], program=program)
        return _run(typer.main.get_command(app), args, program=program)
    except Cancelled as error:
        complain(error, program=program)
        return INTERRUPTED
    except UnetrError as error:
        complain(error, program=program)
        return USAGE if isinstance(error, _USAGE_ERRORS) else NONE_DONE
    except KeyboardInterrupt:
        complain("interrupted", program=program)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERNAL
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and is_of_networks(error):
            complain(NETWORK_ADVICE, program=program)
            return USAGE
        if os.environ.get("UNETR_DEBUG"):
            raise
        complain(
            f"internal error of type {type(error).__name__}. Set UNETR_DEBUG=1 to see the details, "
            "and report them.",
            program=program,
        )
        return INTERNAL


def _load(name: str) -> Any:
    """The sub-command, from its module's ``command``."""
    module = import_module(f"unetr_app.cli.{name}")
    single = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    single.command(name, epilog=_unwrapped(getattr(module, "EXAMPLES", "")))(module.command)
    return typer.main.get_command(single)


def _run(command: Any, args: Sequence[str], *, program: str) -> int:
    try:
        code = command.main(args=list(args), prog_name=program, standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            said = error.format_message().rstrip()
            stop = "" if said.endswith((".", "?")) else "."
            complain(f"{said}{stop} See {program} --help.", program=program)
        return USAGE
    return code if isinstance(code, int) else 0
