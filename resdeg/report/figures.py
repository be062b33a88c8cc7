"""The road to a figure: loaded sweeps and choices in, a drawn figure out; `resdeg.figure` for notebooks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resdeg.analysis.frame import SweepFrame, load_sweep
from resdeg.analysis.naming import name_apart
from resdeg.config import FAMILIES
from resdeg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from resdeg.report.canvas import Figure
    from resdeg.report.options import FigureOptions, Scale, X, Y
    from resdeg.report.style import Theme


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, its look, what a reader who cannot see it needs to know, and the sweeps as they are in it."""

    figure: Figure
    look: Theme
    about: str
    sweeps: list[SweepFrame]


def figure(
    sweep: SweepFrame | Path | str | Iterable[SweepFrame | Path | str],
    kind: str = "curve",
    *,
    theme: str = "light",
    arm: str | None = None,
    evaluation: str | None = None,
    size: str | Sequence[float] | None = None,
    dpi: int | None = None,
    font_size: float | None = None,
    title: str | None = None,
    panel: str | Iterable[str] | None = None,
    x: X = "depth",
    scale: Scale = "log",
    y: Y | None = None,
    labels: str | Iterable[str] | None = None,
    overlay: bool = False,
) -> Figure:
    """Returns the figure that `resdeg plot` draws, as a matplotlib Figure to be shown, changed and saved.

    It is no figure of pyplot's, so it changes no current figure, needs no `close`, and `savefig` writes it.
    The last line of a notebook's cell shows it.

    Args:
        sweep: the folder of a sweep, or what `resdeg.sweep` and `resdeg.load` return; or several of them.
        kind: a kind of `resdeg plot`, "curve", "training", "arms" or what was measured.
        theme: "light" or "dark". arm: the name of an arm, which is drawn instead of its grid.
        evaluation: "running" or "image", as for the command.
        size: inches, such as (3.25, 2.4), or text such as "8cmx6cm". dpi: pixels per inch.
        font_size: points. title: "" for none. panel, labels: names, or text with commas between them.
        x, scale, y, overlay: as for the command.

    Raises:
        UsageError: nothing to draw, or a choice that is unknown or that the kind cannot follow.
    """
    _import_matplotlib()
    from resdeg.report.options import read_options
    from resdeg.report.style import finish

    given = [sweep] if isinstance(sweep, (SweepFrame, Path, str)) else list(sweep)
    loaded = [own if isinstance(own, SweepFrame) else load_sweep(own) for own in given]
    options = read_options(
        size=size, dpi=dpi, title=title, font_size=font_size, panel=panel, x=x, scale=scale, y=y,
        labels=labels, overlay=overlay,
    )  # fmt: skip
    drawn = draw_sweeps(loaded, kind, theme=theme, arm=arm, evaluation=evaluation, options=options)
    return finish(drawn.figure, drawn.look)


def _import_matplotlib() -> None:
    """Imports matplotlib with the settings and the backend of the program, whose own figures may follow.

    Where they are broken, what was imported is forgotten, and `resdeg.report.canvas` imports it without them.
    """
    try:
        importlib.import_module("matplotlib")
    except Exception:
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]


def draw_sweeps(
    sweeps: Sequence[SweepFrame],
    kind: str,
    *,
    options: FigureOptions,
    theme: str = "light",
    arm: str | None = None,
    evaluation: str | None = None,
) -> DrawnFigure:
    """Draws loaded sweeps as one figure.

    Raises:
        UsageError: see `figure`; or the sweeps have different schedules, and --overlay was not chosen.
    """
    from resdeg.report.kinds import FIGURES
    from resdeg.report.style import find_theme
    from resdeg.report.text import describe_runs, name_data_of_all

    if kind not in FIGURES:
        raise UsageError(f"--kind {kind} is not known", did_you_mean(kind, FIGURES))
    if not sweeps:
        raise UsageError("no sweep to draw", "give a folder")
    options.check(kind, sweeps=len(sweeps))
    look = find_theme(theme).scaled(options.points)
    if options.dpi is not None:
        look = replace(look, dpi=options.dpi)
    _, shown = choose_sweeps(sweeps, kind, options=options, arm=arm, evaluation=evaluation)
    families = [family for family in FAMILIES if any(family in sweep.config.families for sweep in shown)]
    runs = describe_runs(shown[0])
    if options.overlay:
        runs = "\n".join(f"{sweep.name}: {describe_runs(sweep)}" for sweep in shown)
    about = f"{kind} of {' and '.join(families)} networks on {name_data_of_all(shown)}. {runs}"
    return DrawnFigure(FIGURES[kind](shown, look, options), look, about, shown)


def choose_sweeps(
    sweeps: Sequence[SweepFrame],
    kind: str,
    *,
    options: FigureOptions,
    arm: str | None = None,
    evaluation: str | None = None,
) -> tuple[list[SweepFrame], list[SweepFrame]]:
    """Returns the sweeps, or an arm of each, by names that differ: in every evaluation, and in the one shown.

    Raises:
        UsageError: an arm or evaluation is not there, or the schedules differ and --overlay was not chosen.
    """
    if not options.overlay:
        _require_one_schedule(sweeps)
    named = name_apart(sweeps, options.labels)
    chosen = [choose_arm(sweep, arm, kind) for sweep in named] if arm else named
    return chosen, [sweep.evaluated(evaluation or sweep.evaluations[0]) for sweep in chosen]


def choose_arm(sweep: SweepFrame, arm: str, kind: str) -> SweepFrame:
    """Returns an arm of `sweep`.

    Raises:
        UsageError: there is no such arm, or the kind draws every arm.
    """
    from resdeg.report.arm_charts import require_arms

    if kind == "arms":
        raise UsageError("--kind arms draws every arm", "leave out --arm")
    arms = require_arms(sweep)
    if arm not in arms:
        raise UsageError(f"{sweep.folder}: no arm {arm} has a record", did_you_mean(arm, arms))
    return arms[arm]


def _require_one_schedule(sweeps: Sequence[SweepFrame]) -> None:
    """Refuses to compare a short curve with a long one, because the peak moves with the schedule."""
    parts = ("epochs", "steps", "batch_size", "lr", "schedule", "warmup_steps", "warmup_lr")
    first, folders = sweeps[0].config.training, {sweep.folder for sweep in sweeps}
    for sweep in sweeps:
        other, adopted = sweep.config.training, sweep.config.adopted
        if adopted is not None and not adopted.schedule_known and folders != {sweep.folder}:
            raise UsageError(
                f"{sweep.folder} is adopted from {adopted.source}, and its schedule is not known",
                "draw it alone, draw them with --overlay, or give `resdeg adopt` --recipe, --epochs or --set "
                "training...",
            )
        for part in parts:
            if getattr(other, part) != getattr(first, part):
                values = [getattr(training, part) for training in (other, first)]
                own, others = ("none" if value is None else value for value in values)
                raise UsageError(
                    f"{sweep.folder} has another schedule than {sweeps[0].folder}: training.{part} is "
                    f"{own}, not {others}",
                    "draw them one by one, or in one pair of axes with --overlay, which names the schedules",
                )
