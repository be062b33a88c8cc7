"""`resdeg anchors`: our numbers beside the published ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.errors import UsageError

if TYPE_CHECKING:
    from resdeg.analysis.anchors import Anchor, Band, Cell, Comparison

_WIDTH = 11  # width of a column of numbers: five of them and the names fit into 80 characters
_NAMES = 18
_TITLES = {"test_error": "test error", "train_error": "training error"}
_MARKS = {"primary": "", "digitised": "[D]", "secondary": "[S]"}  # no [S] among them so far


def anchors(
    sweep: Annotated[
        Path | None, typer.Argument(metavar="[SWEEP]", help="A sweep under the paper's full protocol.")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Only the published numbers.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare a sweep, by default the last one here, with the published errors."""
    from resdeg.analysis.anchors import export_fields, load_anchors

    if published and sweep is not None:
        raise UsageError("--published prints the published numbers alone", "leave it out, or the sweep")
    table, comparison = load_anchors(), None if published else _compare_sweep(sweep)
    if as_json:
        numbers = {
            "published": [export_fields(anchor) for anchor in table],
            "comparison": comparison and export_fields(comparison),
        }
        emit_json(numbers)
        return
    for line in _page(table, comparison):
        emit(line)


def _compare_sweep(given: Path | None) -> Comparison | None:
    """Returns None where no sweep was given and none is remembered here."""
    from resdeg.analysis.anchors import check_protocol, compare
    from resdeg.analysis.frame import load_sweep
    from resdeg.analysis.reader import list_runs
    from resdeg.store import SweepStore

    folder = given or options.last_sweep()
    if folder is None:
        return None
    # Another protocol is reported before a missing record.
    check_protocol(str(folder), list_runs(SweepStore(folder))[0])
    sweep = load_sweep(folder)
    for problem in sweep.problems:
        screen.insist(f"left out: {problem}")
    for line in sweep.mixed:
        screen.insist(f"note: {line}")
    return compare(sweep)


def _page(table: Sequence[Anchor], comparison: Comparison | None) -> Iterable[str]:
    from resdeg.analysis.anchors import BANDS

    depths = sorted({anchor.depth for anchor in table})
    if comparison:
        yield f"{comparison.sweep}: {comparison.protocol}"
        yield ""
    for metric, title in _TITLES.items():
        for family in ("plain", "residual"):
            rows = [anchor for anchor in table if (anchor.metric, anchor.family) == (metric, family)]
            yield f"{title} in %, {family}"
            yield _row("  depth", [str(depth) for depth in depths])
            for source in dict.fromkeys(anchor.source for anchor in rows):
                value = {anchor.depth: _value(anchor) for anchor in rows if anchor.source == source}
                yield _row(source, [value.get(depth, "") for depth in depths])
            if metric == "test_error":
                yield _row("band", [_band(BANDS[family, depth]) for depth in depths])
            if comparison:
                cells = {
                    cell.depth: cell
                    for cell in comparison.cells
                    if (cell.metric, cell.family) == (metric, family)
                }
                yield from _ours(_title(comparison), [cells.get(depth) for depth in depths])
            yield ""
    yield from _legend(table, comparison)


def _title(comparison: Comparison) -> str:
    return "ours" if comparison.adopted is None else "adopted"


def _ours(title: str, cells: Sequence[Cell | None]) -> Iterable[str]:
    means = [cell.ours if cell else None for cell in cells]
    yield _row(title, [f"{100 * mean.mean:.2f}" if mean else "-" for mean in means])
    if any(mean and mean.low is not None for mean in means):
        yield _row("  95 % interval", [_interval(mean.low, mean.high) if mean else "" for mean in means])
    yield _row("  seeds", [_seeds(cell) if cell else "" for cell in cells])
    if any(cell and cell.band for cell in cells):
        yield _row("  where it lies", [(cell.relation or "-") if cell else "" for cell in cells])


def _row(name: str, columns: Iterable[str]) -> str:
    return (f"{name:{_NAMES}}" + "".join(f"{text:>{_WIDTH}} " for text in columns)).rstrip()


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _value(anchor: Anchor) -> str:
    value = f">{100 * anchor.value:g}" if anchor.bound else _percent(anchor.value)
    deviation = "" if anchor.deviation is None else f"({_percent(anchor.deviation)})"
    return value + deviation + "*" * bool(anchor.note) + _MARKS[anchor.provenance]


def _band(band: Band) -> str:
    return f"{100 * band.low:.1f}-{100 * band.high:.1f}" if band.high < 1 else f">{100 * band.low:g}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_percent(low)}-{_percent(high)}"


def _seeds(cell: Cell) -> str:
    done = cell.ours.seeds if cell.ours else 0
    if not cell.planned:
        return "not in it"
    return str(done) if done == cell.planned else f"{done} of {cell.planned}"


def _legend(table: Sequence[Anchor], comparison: Comparison | None) -> Iterable[str]:
    yield "(n): standard deviation over seeds. [D]: read off a figure."
    yield "*: differs from the source's other numbers in what is said below."
    if comparison:
        ours = _title(comparison)
        yield f"{ours}: mean of the finished seeds; training error is the running one at the end."
    yield "band: span of independent sources, the paper's recipe as each of them read it."
    for source in dict.fromkeys(anchor.source for anchor in table):
        own = [anchor for anchor in table if anchor.source == source]
        yield f"{source}: {'; '.join(dict.fromkeys(anchor.location for anchor in own))}"
        yield f"  {own[0].protocol}"
        reported = dict.fromkeys((anchor.metric, anchor.reported) for anchor in own)
        yield "  epoch: " + ", ".join(f"{epoch} ({_TITLES[metric]})" for metric, epoch in reported)
        yield f"  {_spell_seeds(own)}{_spell_notes(own)}"


def _spell_seeds(anchors: Sequence[Anchor]) -> str:
    """Returns the seeds of a source, and where they are not the same for all of its numbers."""
    usual = min(anchor.seeds for anchor in anchors)
    odd = [f"{anchor.seeds} at {anchor.family}-{anchor.depth}" for anchor in anchors if anchor.seeds != usual]
    return ", ".join([f"{usual} seed{'s' * (usual > 1)}", *odd])


def _spell_notes(anchors: Sequence[Anchor]) -> str:
    notes: dict[str, list[str]] = {}
    for anchor in anchors:
        if anchor.note:
            notes.setdefault(anchor.note, []).append(f"{anchor.family}-{anchor.depth}")
    return "".join(f"; {note}: {', '.join(dict.fromkeys(cells))}" for note, cells in notes.items())
