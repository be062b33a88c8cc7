"""`resdeg plot`: the figure and, in the sweep's folder, the numbers in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from resdeg.analysis.frame import SweepFrame
    from resdeg.report.options import FigureOptions
    from resdeg.report.table_files import Dialect

# The kinds of FIGURES are written out here, because a help text must not load matplotlib.
KINDS = (
    "curve", "training", "arms", "responses", "identity", "development", "probes", "lesions", "gradients",
)  # fmt: skip
XS, SCALES, YS = (
    ("depth", "parameters", "multiply-adds"),
    ("log", "linear"),
    ("accuracy", "error", "log-error"),
)


def plot(
    sweeps: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SWEEP]...", help=f"Sweep folders; without one, {options.LAST}."),
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
            help="The only file: a figure, FILE.png, svg, pdf, eps or pgf, or its table, FILE.tex, md or csv "
            "[figure and tables, in the sweep's folder]."
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
    arm: Annotated[str | None, typer.Option(help="Draw this arm instead of the grid.")] = None,
    evaluation: options.Evaluation = None,
    size: Annotated[str | None, typer.Option(help="Width and height: 3.25x2.4 (inches), 8cmx6cm.")] = None,
    dpi: Annotated[int | None, typer.Option(help="Pixels per inch of a PNG [160].")] = None,
    font_size: Annotated[
        float | None,
        typer.Option(help="Points [8 with a --size below 8 inches, else 10]."),
    ] = None,
    title: Annotated[str | None, typer.Option(help='Title instead of ours; "" for none.')] = None,
    panel: Annotated[
        str | None,
        typer.Option(help="These panels only: accuracy or error, a depth, an arm."),
    ] = None,
    x: Annotated[
        str,
        typer.Option("--x", help=f"{', '.join(XS)}.", autocompletion=options.one_of(*XS)),
    ] = XS[0],
    scale: Annotated[
        str,
        typer.Option(help=f"{' or '.join(SCALES)}, of x.", autocompletion=options.one_of(*SCALES)),
    ] = SCALES[0],
    y: Annotated[
        str | None,
        typer.Option("--y", help=f"{', '.join(YS)}.", autocompletion=options.one_of(*YS)),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Names of the sweeps: A,B.")] = None,
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="All sweeps in one pair of axes, of any schedule."),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Draw accuracy against depth, training curves, arms or diagnostics; print where the figure is."""
    from resdeg.report.options import read_options

    chosen = read_options(
        size=size, dpi=dpi, title=title, font_size=font_size, panel=panel, x=x, scale=scale, y=y,
        labels=labels, overlay=overlay,
    )  # fmt: skip
    folders = sweeps or [options.sweep_folder(None)]
    drawn = draw(folders, kind, out, theme, evaluation, arm, figure_options=chosen, sep=sep, decimal=decimal)
    if not as_json:
        emit(str(drawn.figure))
        return
    from resdeg.analysis.evidence import Evidence
    from resdeg.report.verdict_text import describe_peak

    written, peak = "table" if drawn.is_table else "figure", describe_peak(Evidence(drawn.sweep))
    shown = {written: str(drawn.figure), "kind": kind, "evaluation": drawn.sweep.evaluation, "peak": peak}
    emit_json({**shown, "curve": json.loads(drawn.curve.to_json(orient="records"))})


@dataclass(frozen=True)
class Drawn:
    """What `draw` wrote: the path of the figure, and the table of all evaluations.

    figure: the path of the figure, or that of its table if `is_table`.
    sweep: the first sweep, as it was drawn.
    """

    figure: Path
    curve: pd.DataFrame
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
    figure_options: FigureOptions | None = None,
    sep: str | None = None,
    decimal: str | None = None,
) -> Drawn:
    """Writes the figure, and beside it curve.csv and runs.csv; if `out` is given, it is the only file.

    Args:
        out: a figure, or a table: see `resdeg.report.table_files`. None stands for a figure in the first
            folder, which is named by its kind and by the choices that change it.
        sep, decimal: see `Dialect`; for an `out` that is CSV.

    Raises:
        UsageError: nothing to draw, an unknown kind, format, evaluation or arm, choices that the kind or a
            table cannot follow, sweeps of different schedules, or a kind that has no table.
    """
    from resdeg import files
    from resdeg.analysis.frame import load_sweep
    from resdeg.analysis.naming import name_apart
    from resdeg.report.figures import draw_sweeps
    from resdeg.report.kinds import FIGURES
    from resdeg.report.options import DEFAULTS
    from resdeg.report.style import FORMATS, find_theme, render
    from resdeg.report.table_files import FORMS, Dialect, write_csv

    chosen = DEFAULTS if figure_options is None else figure_options
    if kind not in FIGURES:
        raise UsageError(f"--kind {kind} is not known", did_you_mean(kind, FIGURES))
    path = out or folders[0] / _name_figure(kind, chosen, theme=theme_name, arm=arm, evaluation=evaluation)
    form = path.suffix.lstrip(".").lower()
    if form not in (*FORMATS, *FORMS):
        endings = f"{', '.join(FORMATS)}, or a table in {', '.join(FORMS)}"
        raise UsageError(f"--out {path}: neither a figure's name nor a table's", f"end a figure in {endings}")
    if form != "csv" and (sep is not None or decimal is not None):
        raise UsageError("--sep and --decimal are for CSV", "add --out FILE.csv")
    dialect = Dialect.from_options(sep, decimal)
    if chosen.dpi is not None and form != "png":
        raise UsageError(f"--dpi is for PNG; {path} has no pixels", "leave it out, or give --size")
    chosen.check(kind, sweeps=len(folders))
    find_theme(theme_name)
    loaded = [load_sweep(folder) for folder in folders]
    for problem in (problem for sweep in loaded for problem in sweep.problems):
        screen.insist(f"left out: {problem}")
    for line in (line for sweep in loaded for line in sweep.notes):
        screen.say(f"note: {line}")
    if form in FORMS:
        content, shown = _write_table(
            loaded, kind, form, options=chosen, arm=arm, evaluation=evaluation, dialect=dialect
        )
    else:
        drawn = draw_sweeps(loaded, kind, options=chosen, theme=theme_name, arm=arm, evaluation=evaluation)
        content, shown = render(drawn.figure, form, drawn.about, dpi=chosen.dpi), drawn.sweeps
    files.make_folder(path.parent)
    files.write(path, content)
    named = name_apart(loaded, chosen.labels)
    curve = _join_tables(named, lambda sweep: sweep.curve)
    if out is None:
        for name, table in (("curve", curve), ("runs", _join_tables(named, lambda sweep: sweep.runs))):
            files.write(path.parent / f"{name}.csv", write_csv(table).encode())
        if len(folders) > 1:
            screen.say(
                f"note: {path.name}, curve.csv and runs.csv in {path.parent} show {len(folders)} sweeps now; "
                "`resdeg plot` with this folder only writes its own again"
            )
    return Drawn(path, curve, shown[0], is_table=form in FORMS)


def _name_figure(
    kind: str, options: FigureOptions, *, theme: str, arm: str | None, evaluation: str | None
) -> str:
    """Names the file by every choice that changes the picture, so that KIND.png is drawn without any."""
    choices = (name.replace("_", "-") for name in options.given)
    parts = (kind, arm, evaluation, "" if theme == "light" else theme, *choices)
    return f"{'-'.join(filter(None, parts))}.png"


def _write_table(
    sweeps: list[SweepFrame],
    kind: str,
    form: str,
    *,
    options: FigureOptions,
    arm: str | None,
    evaluation: str | None,
    dialect: Dialect,
) -> tuple[bytes, list[SweepFrame]]:
    """Returns the table of a kind of figure as a file's bytes, and the sweeps as they are in it."""
    from resdeg.report.figures import choose_sweeps
    from resdeg.report.panels import PAGES
    from resdeg.report.table_files import render_table

    others = [name for name in options.given if name != "labels"]
    if others:
        option = others[0].replace("_", "-")
        raise UsageError(f"--{option} is for figures, and {form} is a table", "leave it out")
    chosen, shown = choose_sweeps(sweeps, kind, options=options, arm=arm, evaluation=evaluation)
    # Without --evaluation a CSV file has the numbers of all, as curve.csv has.
    numbers = _join_tables(shown if evaluation else chosen, lambda sweep: sweep.curve)
    if evaluation:
        numbers = numbers[~numbers["metric"].str.startswith("image_")]
    for problem in (line for sweep in shown for line in sweep.diagnostics[1] if kind in PAGES):
        screen.insist(f"left out: {problem}")
    return render_table(kind, shown, form=form, curve=numbers, dialect=dialect), shown


def _join_tables(sweeps: list[SweepFrame], table: Callable[[SweepFrame], pd.DataFrame]) -> pd.DataFrame:
    """Returns the tables of all sweeps below each other, with a column `sweep` where there are several."""
    import pandas as pd

    tables = [sweep.with_arms(table) for sweep in sweeps]
    if len(sweeps) > 1:
        tables = [own.assign(sweep=sweep.name) for own, sweep in zip(tables, sweeps, strict=True)]
    return pd.concat(tables, ignore_index=True)
