"""Training curves: error, or accuracy, against epoch, a panel per depth."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report.canvas import Axes, Figure, Line2D, MaxNLocator, PercentTicks
from resdeg.report.fitting import add_legend, add_title, count_across, title_panel
from resdeg.report.marks import make_family_handles
from resdeg.report.options import DEFAULTS, FigureOptions, Y, choose_panels
from resdeg.report.scales import set_count_axis, set_value_axis
from resdeg.report.style import Ink, LineStyle, Theme, applied
from resdeg.report.text import describe_runs, join_words, name_data

RUNNING: LineStyle = "--"
CLEAN: LineStyle = ":"
_ACROSS = 4  # panels in a row


def draw_training(sweeps: Sequence[SweepFrame], look: Theme, options: FigureOptions = DEFAULTS) -> Figure:
    """Draws error against epoch, a panel per depth; seeds are thin lines.

    Test error is solid, training error dashed (running) and, where it was recorded, dotted (clean, on fixed
    images, only the mean).

    Raises:
        UsageError: no epoch was recorded, or the options ask for what cannot be drawn.
    """
    depths = sorted({int(depth) for sweep in sweeps for depth in sweep.metrics["depth"]})
    if not depths:
        raise UsageError(
            f"{join_words(sweep.folder for sweep in sweeps)}: no run has a record of an epoch",
            "draw another --kind; runs that diverge in their first epoch leave no training curve",
        )
    chosen = choose_panels([str(depth) for depth in depths], options, kind="training")
    panels = [
        (sweep, depth)
        for sweep in sweeps
        for depth in sorted(set(sweep.metrics["depth"]))
        if str(depth) in chosen
    ]
    across = _ACROSS if options.size is None else count_across(options, most=_ACROSS)
    rows = -(-len(panels) // across)
    columns = -(-len(panels) // rows)
    y: Y = options.y or "error"
    look = look.scaled(options.points)
    with applied(look):
        size = options.choose_size(max(6.4, 3.4 * columns), 1.2 + 3.1 * rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        values: list[float] = []
        for axes, (sweep, depth) in zip(grid.flat, panels, strict=False):
            metrics = sweep.metrics[sweep.metrics["depth"] == depth]
            for family in sweep.config.families:
                own = metrics[metrics["family"] == family]
                values += _draw_training_lines(axes, own, ink=look.families[family], y=y)
            named = len(sweeps) > 1 or options.labels
            name = f"{sweep.name}: depth {depth}" if named else f"depth {depth}"
            title_panel(axes, name, across=columns, options=options, weight="bold")
            axes.yaxis.set_major_formatter(PercentTicks())
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy" if y == "accuracy" else "error")
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if options.fitted:
                set_count_axis(axes, look=look)
        if y == "log-error":
            set_value_axis(grid[0][0], y, values=values, look=look)
        handles = make_family_handles(sweeps[0].config.families, look)
        styles: list[tuple[str, LineStyle]] = [("test", "-"), ("training (running mean)", RUNNING)]
        if any("clean_train_accuracy" in sweep.metrics for sweep in sweeps):
            styles.append(("training (clean, fixed images)", CLEAN))
        handles += [Line2D([], [], color=look.text, linestyle=style, label=label) for label, style in styles]
        title = (
            f"{'Accuracy' if y == 'accuracy' else 'Error'} during training on {name_data(sweeps[0].config)}"
        )
        runs = describe_runs(sweeps[0], "thin: each seed, bold: their mean")
        add_legend(figure, handles, columns=len(handles), look=look, options=options)
        add_title(figure, title, runs, look=look, options=options)
        return figure


def _draw_training_lines(axes: Axes, metrics: pd.DataFrame, *, ink: Ink, y: Y) -> list[float]:
    """Draws the lines of one family in one panel, and returns the means in them."""
    styles: list[tuple[str, LineStyle]] = [("train_accuracy", RUNNING), ("test_accuracy", "-")]
    styles += [("clean_train_accuracy", CLEAN)] if "clean_train_accuracy" in metrics else []
    drawn: list[float] = []
    for metric, style in styles:
        shown = metrics.assign(value=metrics[metric] if y == "accuracy" else 1 - metrics[metric])
        for _, run in shown.groupby("seed") if style != CLEAN else ():
            axes.plot(
                run["epoch"], run["value"], color=ink.colour, linestyle=style, alpha=0.4,
                linewidth=0.7 * ink.weight,
            )  # fmt: skip
        # Runs that are not all equally far are averaged over the epochs that all of them have.
        together = shown.groupby("epoch")["value"].agg(["mean", "count"])
        together = together[together["count"] == metrics["seed"].nunique()]
        axes.plot(
            together.index, together["mean"], color=ink.colour, linestyle=style, linewidth=1.8 * ink.weight,
            marker=ink.marker if len(together) <= 12 and style != CLEAN else None, markersize=4 * ink.weight,
            markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(),
        )  # fmt: skip
        drawn += together["mean"].tolist()
    return drawn
