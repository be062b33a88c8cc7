"""`resdeg plot`: the figure and, in the sweep's folder, the numbers in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, screen
from resdeg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from resdeg.analysis.frame import SweepFrame
    from resdeg.config import SweepConfig

# The kinds of FIGURES are written out here, because a help text must not load matplotlib.
KINDS = (
    "curve", "training", "arms", "responses", "identity", "development", "probes", "lesions", "gradients",
)  # fmt: skip


def plot(
    sweeps: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SWEEP]...", help="Sweep folders; without one, the last that ran."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(KINDS[:3])}, or what `resdeg diagnose` measured: {', '.join(KINDS[3:])}.",
            autocompletion=options.one_of(*KINDS),
        ),
    ] = "curve",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The only file: a figure, FILE.png, FILE.svg or FILE.pdf, or its table, FILE.tex, FILE.md "
            "or FILE.csv [figure and tables, in the sweep's folder]."
        ),
    ] = None,
    sep: Annotated[
        str | None, typer.Option(help="Between the cells of FILE.csv: ',' (default), ';', tab or another.")
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="Decimal point of the numbers in FILE.csv: '.' (default) or ','.")
    ] = None,
    theme: Annotated[
        str, typer.Option(help="light or dark.", autocompletion=options.one_of("light", "dark"))
    ] = "light",
    arm: Annotated[str | None, typer.Option(help="Of this arm instead of the grid it is set beside.")] = None,
    evaluation: options.Evaluation = None,
    as_json: options.AsJson = False,
) -> None:
    """Draw accuracy against depth, training curves, arms or diagnostics; print where the figure is."""
    folders = sweeps or [options.sweep_folder(None)]
    drawn = draw(folders, kind, out, theme, evaluation, arm, sep=sep, decimal=decimal)
    if not as_json:
        emit(str(drawn.figure))
        return
    written = "table" if drawn.is_table else "figure"
    shown = {written: str(drawn.figure), "kind": kind, "evaluation": drawn.evaluation, "peak": drawn.peak}
    emit(json.dumps({**shown, "curve": json.loads(drawn.curve.to_json(orient="records"))}, indent=1))


@dataclass(frozen=True)
class Drawn:
    """What `draw` wrote: the path of the figure, the evaluation in it, the table of all evaluations.

    figure: the path of the figure, or that of its table if `is_table`.
    peak: where the plain curve of the first sweep has its maximum, in words; empty where it has none.
    sweep: the first sweep, as it was drawn.
    """

    figure: Path
    evaluation: str
    curve: pd.DataFrame
    peak: str
    sweep: SweepFrame
    is_table: bool = False


def draw(
    folders: list[Path],
    kind: str,
    out: Path | None,
    theme_name: str,
    evaluation: str | None = None,
    arm: str | None = None,
    *,
    sep: str | None = None,
    decimal: str | None = None,
) -> Drawn:
    """Writes the figure, and beside it curve.csv and runs.csv; if `out` is given, it is the only file.

    Args:
        out: a figure, or a table: see `resdeg.report.table_files`.
        sep, decimal: see `Dialect`; for an `out` that is CSV.

    Raises:
        UsageError: nothing to draw, an unknown kind, format, evaluation or arm, sweeps of different
            schedules, or a kind that has no table.
    """
    from resdeg import files
    from resdeg.analysis.evidence import Evidence
    from resdeg.analysis.frame import load_sweep
    from resdeg.report.kinds import FIGURES
    from resdeg.report.panels import PAGES
    from resdeg.report.style import FORMATS, render, theme
    from resdeg.report.table_files import FORMS, Dialect, render_table, write_csv
    from resdeg.report.text import describe_peak, describe_runs, name_data

    if kind not in FIGURES:
        raise UsageError(f"--kind {kind} is not known", did_you_mean(kind, FIGURES))
    path = out or folders[0] / (f"{kind}-{arm}.png" if arm else f"{kind}.png")
    form = path.suffix.lstrip(".").lower()
    if form not in (*FORMATS, *FORMS):
        endings = f"{', '.join(FORMATS)}, or a table in {', '.join(FORMS)}"
        raise UsageError(f"--out {path}: neither a figure's name nor a table's", f"end a figure in {endings}")
    if form != "csv" and (sep is not None or decimal is not None):
        raise UsageError("--sep and --decimal are for CSV", "add --out FILE.csv")
    dialect = Dialect.from_options(sep, decimal)
    look = theme(theme_name)
    loaded = [load_sweep(folder) for folder in folders]
    _one_schedule(folders, [sweep.config for sweep in loaded])
    for problem in (problem for sweep in loaded for problem in sweep.problems):
        screen.insist(f"left out: {problem}")
    for line in (line for sweep in loaded for line in sweep.mixed):
        screen.say(f"note: {line}")
    chosen = [_of_arm(sweep, arm, kind) for sweep in loaded] if arm else loaded
    shown = [sweep.evaluated(evaluation or sweep.evaluations[0]) for sweep in chosen]
    if form in FORMS:
        # Without --evaluation a CSV file has the numbers of all, as curve.csv has.
        numbers = _join_tables(shown if evaluation else chosen, lambda sweep: sweep.curve)
        if evaluation:
            numbers = numbers[~numbers["metric"].str.startswith("image_")]
        drawn = render_table(kind, shown, form=form, curve=numbers, dialect=dialect)
        for problem in (line for sweep in shown for line in sweep.diagnostics[1] if kind in PAGES):
            screen.insist(f"left out: {problem}")
    else:
        images = name_data(shown[0].config)
        about = f"{kind} of plain and residual networks on {images}. {describe_runs(shown[0])}"
        drawn = render(FIGURES[kind](shown, look), form, about)
    files.make_folder(path.parent)
    files.write(path, drawn)
    curve = _join_tables(loaded, lambda sweep: sweep.curve)
    if out is None:
        for name, table in (("curve", curve), ("runs", _join_tables(loaded, lambda sweep: sweep.runs))):
            files.write(path.parent / f"{name}.csv", write_csv(table).encode())
    peak = describe_peak(Evidence(shown[0]))
    return Drawn(path, shown[0].evaluation, curve, peak, shown[0], is_table=form in FORMS)


def _join_tables(sweeps: list[SweepFrame], table: Callable[[SweepFrame], pd.DataFrame]) -> pd.DataFrame:
    """Returns the tables of all sweeps below each other, with a column `sweep` where there are several."""
    import pandas as pd

    tables = [sweep.with_arms(table) for sweep in sweeps]
    if len(sweeps) > 1:
        tables = [own.assign(sweep=sweep.name) for own, sweep in zip(tables, sweeps, strict=True)]
    return pd.concat(tables, ignore_index=True)


def _of_arm(sweep: SweepFrame, arm: str, kind: str) -> SweepFrame:
    from resdeg.report.arm_charts import require_arms

    if kind == "arms":
        raise UsageError("--kind arms draws every arm", "leave out --arm")
    arms = require_arms(sweep)
    if arm not in arms:
        raise UsageError(f"{sweep.folder}: no arm {arm} has a record", did_you_mean(arm, arms))
    return arms[arm]


def _one_schedule(folders: list[Path], sweeps: list[SweepConfig]) -> None:
    """Refuses to compare a short curve with a long one, because the peak moves with the schedule."""
    parts = ("epochs", "steps", "batch_size", "lr", "schedule", "warmup_steps", "warmup_lr")
    first = sweeps[0].training
    for folder, sweep in zip(folders, sweeps, strict=True):
        other, adopted = sweep.training, sweep.adopted
        if adopted is not None and not adopted.schedule_known and {*folders} != {folder}:
            raise UsageError(
                f"{folder} is adopted from {adopted.source}, and its schedule is not known",
                "draw it alone, or give `resdeg adopt` --recipe, --epochs or --set training...",
            )
        for part in parts:
            if getattr(other, part) != getattr(first, part):
                raise UsageError(
                    f"{folder} has another schedule than {folders[0]}: training.{part} is "
                    f"{getattr(other, part)}, not {getattr(first, part)}",
                    "draw them one by one",
                )
