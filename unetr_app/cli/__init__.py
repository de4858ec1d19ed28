"""The ``unetr`` command: finds the sub-command's module and imports that one alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from unetr_app.cli.screen import complain, say
from unetr_app.errors import Cancelled, UnetrError
from unetr_app.version import __version__

COMMANDS = {
    "segment": "Segment images: files, folders, DICOM series.",
    "inspect": "Show which cases there are, their geometry and their problems.",
    "evaluate": "Compare segmentations with a reference.",
    "bundles": "List the bundles that are installed.",
    "demo": "Segment both hippocampi of an average head, as a trial.",
}
USAGE, INTERNAL = 2, 1

_EXAMPLES = """Examples:
  unetr demo -o demo
  unetr segment scans/ -o results --bundle hippocampus_mr_unetr_segmentation
  unetr evaluate results/ truth/ -o evaluation
"""

# Typer has carried a Click of its own since 0.16 or so; its classes are reached through Typer's.
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


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"unetr-app {__version__}")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction]
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
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
        The exit code: 0 all done, 2 usage, 3 some cases failed, 4 none done, 128 + n after
        signal n, 1 after an error of the program itself.
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
        return 130
    except UnetrError as error:
        complain(error, program=program)
        return USAGE
    except KeyboardInterrupt:
        complain("interrupted", program=program)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERNAL
    except Exception as error:
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
        return 130
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            said = error.format_message().rstrip()
            stop = "" if said.endswith((".", "?")) else "."
            complain(f"{said}{stop} See {program} --help.", program=program)
        return USAGE
    return code if isinstance(code, int) else 0
