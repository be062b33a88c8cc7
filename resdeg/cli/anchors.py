"""`resdeg anchors`: our numbers beside the published ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, screen
from resdeg.errors import UsageError

if TYPE_CHECKING:
    from resdeg.analysis.anchors import Anchor, Band, Cell, Comparison

_WIDTH = 11  # of a column of numbers; five of them and the names fit into 80 characters
_NAMES = 18
_TITLES = {"test_error": "test error", "train_error": "training error"}
_MARKS = {"primary": "", "digitised": "[D]", "secondary": "[S]"}  # no [S] among them so far


def anchors(
    sweep: Annotated[
        Path | None, typer.Argument(metavar="[SWEEP]", help="A sweep under the paper's full protocol.")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="The published numbers alone.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Set a sweep beside the published errors; without one, the last that ran, or they alone if none has."""
    from resdeg.analysis.anchors import load_anchors

    if published and sweep is not None:
        raise UsageError("--published prints the published numbers alone", "leave it out, or the sweep")
    table, found = load_anchors(), None if published else _compared(sweep)
    if as_json:
        shown = {"published": [asdict(one) for one in table], "comparison": found and found.as_dict()}
        emit(json.dumps(shown, indent=1))
        return
    for line in _page(table, found):
        emit(line)


def _compared(given: Path | None) -> Comparison | None:
    """None where no sweep was given and none has run here."""
    from resdeg.analysis.anchors import check_protocol, compare
    from resdeg.analysis.frame import load_sweep
    from resdeg.analysis.wanted import wanted_runs
    from resdeg.store import SweepStore

    folder = given or options.last_sweep()
    if folder is None:
        return None
    check_protocol(
        str(folder), wanted_runs(SweepStore(folder))[0]
    )  # before a missing record is complained of
    sweep = load_sweep(folder)
    for problem in sweep.problems:
        screen.insist(f"left out: {problem}")
    for line in sweep.mixed:
        screen.insist(f"note: {line}")
    return compare(sweep)


def _page(table: Sequence[Anchor], found: Comparison | None) -> Iterable[str]:
    from resdeg.analysis.anchors import BANDS

    depths = sorted({one.depth for one in table})
    if found:
        yield f"{found.sweep}: {found.protocol}"
        yield ""
    for metric, title in _TITLES.items():
        for family in ("plain", "residual"):
            of = [one for one in table if (one.metric, one.family) == (metric, family)]
            yield f"{title} in %, {family}"
            yield _row("  depth", [str(depth) for depth in depths])
            for source in dict.fromkeys(one.source for one in of):
                value = {one.depth: _value(one) for one in of if one.source == source}
                yield _row(source, [value.get(depth, "") for depth in depths])
            if metric == "test_error":
                yield _row("band", [_band(BANDS[family, depth]) for depth in depths])
            if found:
                cells = {c.depth: c for c in found.cells if (c.metric, c.family) == (metric, family)}
                yield from _ours(_title(found), [cells.get(depth) for depth in depths])
            yield ""
    yield from _legend(table, found)


def _title(found: Comparison) -> str:
    return "ours" if found.adopted is None else "adopted"


def _ours(title: str, cells: Sequence[Cell | None]) -> Iterable[str]:
    done = [cell.ours if cell else None for cell in cells]
    yield _row(title, [f"{100 * one.mean:.2f}" if one else "-" for one in done])
    if any(one and one.low is not None for one in done):
        yield _row("  95 % interval", [_interval(one.low, one.high) if one else "" for one in done])
    yield _row("  seeds", [_seeds(cell) if cell else "" for cell in cells])
    if any(cell and cell.band for cell in cells):
        yield _row("  where it lies", [(cell.placed or "-") if cell else "" for cell in cells])


def _row(name: str, columns: Iterable[str]) -> str:
    return (f"{name:{_NAMES}}" + "".join(f"{text:>{_WIDTH}} " for text in columns)).rstrip()


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _value(one: Anchor) -> str:
    value = f">{100 * one.value:g}" if one.bound else _percent(one.value)
    deviation = "" if one.deviation is None else f"({_percent(one.deviation)})"
    return value + deviation + "*" * bool(one.note) + _MARKS[one.provenance]


def _band(band: Band) -> str:
    return f"{100 * band.low:.1f}-{100 * band.high:.1f}" if band.high < 1 else f">{100 * band.low:g}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_percent(low)}-{_percent(high)}"


def _seeds(cell: Cell) -> str:
    done = cell.ours.seeds if cell.ours else 0
    if not cell.wanted:
        return "not in it"
    return str(done) if done == cell.wanted else f"{done} of {cell.wanted}"


def _legend(table: Sequence[Anchor], found: Comparison | None) -> Iterable[str]:
    yield "(n): standard deviation over seeds. [D]: read off a figure."
    yield "*: differs from the source's other numbers in what is said below."
    if found:
        yield f"{_title(found)}: mean of the finished seeds; training error is the running one at the end."
    yield "band: span of independent sources, the paper's recipe as each of them read it."
    for source in dict.fromkeys(one.source for one in table):
        of = [one for one in table if one.source == source]
        yield f"{source}: {'; '.join(dict.fromkeys(one.place for one in of))}"
        yield f"  {of[0].protocol}"
        reported = dict.fromkeys((one.metric, one.reported) for one in of)
        yield "  epoch: " + ", ".join(f"{epoch} ({_TITLES[metric]})" for metric, epoch in reported)
        yield f"  {_count(of)}{_notes(of)}"


def _count(of: Sequence[Anchor]) -> str:
    """Seeds of a source, and where they are not the same for all of its numbers."""
    usual = min(one.seeds for one in of)
    odd = [f"{one.seeds} at {one.family}-{one.depth}" for one in of if one.seeds != usual]
    return ", ".join([f"{usual} seed{'s' * (usual > 1)}", *odd])


def _notes(of: Sequence[Anchor]) -> str:
    notes: dict[str, list[str]] = {}
    for one in of:
        if one.note:
            notes.setdefault(one.note, []).append(f"{one.family}-{one.depth}")
    return "".join(f"; {note}: {', '.join(dict.fromkeys(cells))}" for note, cells in notes.items())
