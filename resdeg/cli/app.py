"""The commands, and the function that turns an error into a line and an exit code."""

from __future__ import annotations

import copy
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from resdeg import __version__, files
from resdeg.cli import (
    adopt,
    anchors,
    bench,
    collect,
    config,
    data,
    diagnose,
    doctor,
    list_sweeps,
    plot,
    prune,
    report,
    status,
    sweep,
)
from resdeg.cli.console import open_closed_streams, screen
from resdeg.cli.habits import Commands, join_lists
from resdeg.config import expand_home
from resdeg.errors import ResdegError, UsageError
from resdeg.sweep.signals import handling


class _Commands(Commands):
    """All commands; each takes the options of the output behind its name as well as before it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        repeated = [_repeat(option) for option in self.params if option.name in ("quiet", "verbose", "debug")]
        inner = [*self.commands.values()]
        for command in inner:
            command.params = [*command.params, *repeated]
            inner.extend(getattr(command, "commands", {}).values())


def _repeat(option: Any) -> Any:
    """Makes an option of all commands into one of a single command, which turns on a field of `screen`."""
    repeated = copy.copy(option)
    repeated.expose_value = False  # no command has to take it as an argument
    repeated.callback = _turn_on
    return repeated


def _turn_on(context: object, option: Any, given: bool) -> None:
    if given:
        setattr(screen, option.name, True)


app = typer.Typer(
    name="resdeg",
    cls=_Commands,
    help="See, test and teach the degradation of deep plain networks, and its cure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_PATHS = ("--out", "--data-dir", "--from")  # the options whose values are paths


def _print_version(asked: bool) -> None:
    if asked:
        print(f"resdeg {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and results.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every epoch of every run.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    screen.quiet, screen.verbose, screen.debug = quiet, verbose, debug


app.command()(sweep.sweep)
app.command()(sweep.train)
app.command()(collect.collect)
app.command()(status.status)
app.command("list")(list_sweeps.list_sweeps)
app.command()(plot.plot)
app.command()(report.report)
app.command()(anchors.anchors)
app.command()(diagnose.diagnose)
app.add_typer(data.data, name="data", help="Get CIFAR, take it from a file, verify it, say where it is.")
app.add_typer(config.config, name="config", help="Show the settings of a sweep, and where each comes from.")
app.command()(adopt.adopt)
app.command("export-weights")(adopt.export_weights)
app.command()(prune.prune)
app.command()(bench.bench)
app.command()(doctor.doctor)


def _leave(number: int, frame: FrameType | None) -> None:
    """Ends a command that has nothing to save: locks and workers are released, with the documented code."""
    raise SystemExit(128 + number)


def _read_arguments(arguments: Iterable[str]) -> Iterator[str]:
    """Yields the arguments with paths as they are meant.

    Few shells expand the tilde of `--out=~/x.png`, and a variable that is not set leaves `--out ""`, which
    would mean the current folder.
    """
    option = ""
    for argument in arguments:
        name, sign, value = argument.partition("=") if argument.startswith("--") else (option, "", argument)
        if name in _PATHS and not value and (sign or not argument):
            raise UsageError(f"{name} is empty", "give a path, or leave the option out")
        if value.startswith("~"):
            argument = argument.removesuffix(value) + str(expand_home(Path(value)))
        yield argument
        option = argument


def main() -> None:
    """Runs a command and exits with its documented code."""
    open_closed_streams()
    files.hear(screen.notice)
    try:
        with handling(_leave):
            app([*_read_arguments(join_lists(sys.argv[1:]))])
    except ResdegError as error:
        if screen.debug:
            traceback.print_exc()
        screen.insist(f"error: {error.what}")
        if error.remedy:
            screen.insist(f"       {error.remedy}")
        sys.exit(error.exit_code)
    except Exception as error:
        if screen.debug:
            raise
        screen.insist(f"error: {type(error).__name__}: {error}")
        screen.insist("       this is a bug in resdeg; --debug shows where")
        sys.exit(1)
