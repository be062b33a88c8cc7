"""`resdeg list`: the sweeps below a folder."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import count_columns, emit, emit_json, printable, screen
from resdeg.report.units import size

if TYPE_CHECKING:
    from resdeg.analysis.catalogue import SweepEntry

_NARROWEST = 30  # columns that the last one needs to stand beside the others


def list_sweeps(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where to look, with all that is below.")
    ] = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """List the sweeps below a folder: what they are, how far, when they last changed, how large."""
    from resdeg.analysis.catalogue import read_catalogue

    entries, problems = read_catalogue(folder)
    for problem in problems:
        screen.insist(f"left out: {problem}")
    if as_json:
        emit_json([entry.as_dict() for entry in entries])
    elif not entries:
        screen.say(f"no sweep in {folder} or below")
    else:
        # A pipe gets a line for each sweep, however long it is.
        width = count_columns(sys.stdout) if sys.stdout.isatty() else None
        rows = [("sweep", "ended", "changed", "size", "what"), *map(_row, entries)]
        for line in _arrange(rows, width):
            emit(line)


def _row(entry: SweepEntry) -> tuple[str, ...]:
    running = entry.counts.get("running", 0)
    what = f"{entry.data} {entry.recipe}, {entry.length}"
    if entry.adopted is not None:
        what = f"{entry.data}, adopted from {entry.adopted}"
    seeds, arms = len(entry.seeds), len(entry.arms)
    return (
        printable(entry.folder).replace("\n", "\\n"),
        f"{entry.ended}/{entry.planned}" + (f", {running} running" if running else ""),
        f"{entry.changed.astimezone():%Y-%m-%d %H:%M}",
        size(entry.bytes),
        f"{what}: {', '.join(entry.families)} x depths {', '.join(map(str, entry.depths))} x "
        f"{seeds} seed{'s' * (seeds != 1)}" + (f", {arms} arm{'s' * (arms != 1)}" if arms else ""),
    )


def _arrange(rows: list[tuple[str, ...]], width: int | None) -> list[str]:
    """Aligns the columns; nothing is cut, so what does not fit into `width` goes on in further lines.

    Where little is left for the last column it stands below the others. Without a width nothing is broken.
    """
    *others, _ = zip(*rows, strict=True)
    widths = [max(map(len, column)) for column in others]
    begins = sum(widths) + 2 * len(widths)
    if width is None or width - begins >= _NARROWEST:
        lines = []
        for *cells, last in rows:
            first = "".join(f"{cell:{own}}  " for cell, own in zip(cells, widths, strict=True))
            lines += [first + last] if width is None else _wrap(last, width, first=first, indent=begins)
        return lines
    lines = []
    for name, *cells, last in rows[1:]:
        lines += textwrap.wrap(name, width, break_on_hyphens=False)
        lines += _wrap(f"{'  '.join(cells)}  {last}", width, first="  ", indent=4)
    return lines


def _wrap(text: str, width: int, *, first: str, indent: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * indent)
