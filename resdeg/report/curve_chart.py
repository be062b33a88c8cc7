"""Accuracy or error against depth: the figure of one sweep, of several, or of several in one pair of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from resdeg.analysis.curve import add_errors, read_points
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report.canvas import Axes, Figure, Line2D
from resdeg.report.chart import Chart, make_figure, narrate, read_lines, tabulate
from resdeg.report.fitting import add_legend, add_title, title_figure, title_panel
from resdeg.report.marks import (
    TEST,
    draw_chance,
    draw_points,
    draw_seeds,
    draw_unfinished,
    make_family_handles,
    make_status_handles,
)
from resdeg.report.options import DEFAULTS, FigureOptions, Y, choose_panels
from resdeg.report.overlay_text import label_differences, list_common_lines
from resdeg.report.scales import (
    NARROW,
    WIDE,
    NetworkAxis,
    read_axes,
    set_depth_axis,
    set_network_axis,
    set_value_axis,
)
from resdeg.report.style import STROKES, Stroke, Theme, applied
from resdeg.report.text import describe_runs, name_data_of_all
from resdeg.report.verdict_text import describe_peak

TRAINING: Stroke = "--"
PANELS = ("accuracy", "error")
SIDE_BY_SIDE = 1.7  # how much wider than high a figure is whose two panels stand side by side


@dataclass(frozen=True)
class Panel:
    """One pair of axes with what it shows.

    Args:
        name: one of PANELS. y: what its axis shows. sweeps: those in it, each with its positions along x.
        strokes: the line of each sweep; empty where there is only one.
    """

    axes: Axes
    name: str
    y: Y
    sweeps: Sequence[tuple[SweepFrame, NetworkAxis]]
    strokes: Sequence[Stroke]

    def metric(self, split: str) -> str:
        return f"{split}_{'accuracy' if self.y == 'accuracy' else 'error'}"

    @property
    def label(self) -> str:
        word = "accuracy" if self.y == "accuracy" else "error"
        return f"test {word}" if self.name == "accuracy" else word


# ---------------------------------------------------------------- the figure


def draw_curves(sweeps: Sequence[SweepFrame], look: Theme, options: FigureOptions = DEFAULTS) -> Figure:
    """Draws test accuracy against depth and, below it, training and test error; a column per sweep.

    Raises:
        UsageError: the options ask for what cannot be drawn.
    """
    names = choose_panels(PANELS, options, kind="curve")
    groups = [list(sweeps)] if options.overlay else [[sweep] for sweep in sweeps]
    if options.overlay and len(sweeps) > len(STROKES):
        what = f"--overlay draws at most {len(STROKES)} sweeps, not {len(sweeps)}"
        raise UsageError(what, "draw fewer of them together")
    look = look.scaled(options.points)
    with applied(look):
        figure, grid = _make_grid(names, columns=len(groups), options=options)
        columns: list[list[Panel]] = []
        for column, group in enumerate(groups):
            positions, ticks = read_axes(group, options)
            members = list(zip(group, positions, strict=True))
            strokes = STROKES[: len(group)] if options.overlay else ()
            panels = [
                Panel(row[column], name, options.y or _usual(name), members, strokes)
                for row, name in zip(grid, names, strict=True)
            ]
            for panel in panels:
                _draw_panel(panel, look, first=panel is panels[0])
                set_network_axis(panel.axes, ticks, options=options, look=look)
                if panel is not panels[-1] and not _beside(options, names, columns=len(groups)):
                    panel.axes.set_xlabel("")
            columns.append(panels)
        for row in zip(*columns, strict=True):
            values = [value for panel in row for value in _list_values(panel)]
            margins = WIDE if options.fitted else NARROW
            set_value_axis(row[0].axes, row[0].y, values=values, look=look, margins=margins)
            row[0].axes.set_ylabel(row[0].label)
        if options.fitted:
            _fit(figure, columns, look=look, options=options)
        else:
            for panels in columns:
                _describe_column(panels, look, several=len(sweeps) > 1)
            title_figure(figure, _entitle(columns, options), weight="bold", fontsize=12)
        return figure


def _usual(panel: str) -> Y:
    return "accuracy" if panel == "accuracy" else "error"


def _beside(options: FigureOptions, names: Sequence[str], *, columns: int) -> bool:
    """Whether two panels of one column stand side by side."""
    size = options.size
    return size is not None and columns == 1 and len(names) > 1 and size[0] > SIDE_BY_SIDE * size[1]


def _make_grid(
    names: Sequence[str], *, columns: int, options: FigureOptions
) -> tuple[Figure, list[list[Axes]]]:
    """Returns an empty figure, and its axes by panel and column."""
    size = options.choose_size(7.0 * columns, 8.2 if len(names) > 1 else 4.8)
    figure = Figure(figsize=size, layout="constrained")
    if _beside(options, names, columns=columns):
        return figure, [[axes] for axes in figure.subplots(1, len(names), squeeze=False)[0]]
    grid = figure.subplots(len(names), columns, squeeze=False, sharex="col", sharey="row")
    return figure, [list(row) for row in grid]


def _draw_panel(panel: Panel, look: Theme, *, first: bool) -> None:
    """Draws the lines of a panel; unfinished runs are in the first one of a column only."""
    for number, (sweep, networks) in enumerate(panel.sweeps):
        stroke = panel.strokes[number] if panel.strokes else TEST
        training = stroke if panel.strokes else TRAINING
        runs, log, test = add_errors(sweep.runs), panel.y == "log-error", panel.metric("test")
        for family in sweep.config.families:
            ink = look.families[family]
            points = read_points(sweep.curve, family, metric=test)
            draw_points(panel.axes, networks.arrange(points, family), ink=ink, style=stroke, log=log)
            draw_seeds(
                panel.axes, runs, numbers=(family, test), ink=ink,
                locate=partial(networks.locate, family, steps=2.2),
            )  # fmt: skip
            if panel.name == "error":
                points = read_points(sweep.curve, family, metric=panel.metric("train"))
                draw_points(
                    panel.axes, networks.arrange(points, family, 2), ink=ink, style=training, log=log,
                    small=True, thin=bool(panel.strokes),
                )  # fmt: skip
        if first:
            draw_unfinished(panel.axes, runs, look=look, metric=test, locate=networks.locate)
    if panel.name == "accuracy":
        for sweep in {sweep.config.data.name: sweep for sweep, _ in panel.sweeps}.values():
            draw_chance(panel.axes, sweep, look=look, error=panel.y != "accuracy")


def _list_values(panel: Panel) -> list[float]:
    """Lists the means that a panel shows."""
    metrics = ["test"] if panel.name == "accuracy" else ["test", "train"]
    return [
        point.mean
        for sweep, _ in panel.sweeps
        for family in sweep.config.families
        for split in metrics
        for point in read_points(sweep.curve, family, metric=panel.metric(split)).values()
    ]


# ---------------------------------------------------------------- its words


def _entitle(columns: Sequence[Sequence[Panel]], options: FigureOptions) -> str:
    sweeps = [sweep for panels in columns for sweep, _ in panels[0].sweeps]
    images = name_data_of_all(sweeps)
    word = "Accuracy" if columns[0][0].y == "accuracy" else "Error"
    return f"{word} against {options.x} on {images}"


def _describe_column(panels: Sequence[Panel], look: Theme, *, several: bool) -> None:
    """Says what a column shows, and gives each of its panels a legend."""
    sweep, _ = panels[0].sweeps[0]
    name = f"{sweep.name}\n" if several else ""
    peak = describe_peak(Evidence(sweep))
    title = name + describe_runs(sweep) + (f"\n{peak}" if peak else "")
    panels[0].axes.set_title(title, loc="left", fontsize=8.5)
    handles = make_family_handles(sweep.config.families, look) + make_status_handles(
        set(sweep.runs["status"]), look
    )
    for panel in panels:
        if panel.name == "error":
            handles = _error_handles(look, sweep.evaluation)
        panel.axes.legend(handles=handles, loc="best")


def _error_handles(look: Theme, evaluation: str) -> list[Line2D]:
    mode = "evaluation mode, " if evaluation == "running" else ""
    clean = f"training error (clean: {mode}no augmentation)"
    named: tuple[tuple[str, Stroke], ...] = (("test error", TEST), (clean, TRAINING))
    return [Line2D([], [], color=look.text, linestyle=style, label=label) for label, style in named]


def _fit(figure: Figure, columns: Sequence[Sequence[Panel]], *, look: Theme, options: FigureOptions) -> None:
    """Gives a figure with options its words: names above columns, one legend below, a title that fits."""
    sweeps = [sweep for panels in columns for sweep, _ in panels[0].sweeps]
    if not options.overlay and (len(columns) > 1 or options.labels):
        for first, *_ in columns:
            name = first.sweeps[0][0].name
            title_panel(first.axes, name, across=len(columns), options=options, fontsize=look.points(9))
    handles = _make_handles(columns, look)
    add_legend(figure, handles, columns=len(handles), look=look, options=options)
    peak = "" if len(sweeps) > 1 else describe_peak(Evidence(sweeps[0]))
    details = "\n".join([*list_common_lines(sweeps), peak])
    add_title(figure, _entitle(columns, options), details, look=look, options=options)


def _make_handles(columns: Sequence[Sequence[Panel]], look: Theme) -> list[Line2D]:
    """Returns the entries of the legend of the whole figure."""
    sweeps = [sweep for panels in columns for sweep, _ in panels[0].sweeps]
    handles = make_family_handles((family for sweep in sweeps for family in sweep.config.families), look)
    strokes = columns[0][0].strokes
    if any(panel.name == "error" for panel in columns[0]):
        weight = look.weight
        styles: list[tuple[str, Stroke, float]] = [("test", TEST, 1.8), ("training", TRAINING, 1.8)]
        if strokes:
            styles = [("test: bold", TEST, 1.8), ("training: thin", TEST, 0.9)]
        handles += [
            Line2D([], [], color=look.text, linestyle=style, linewidth=width * weight, label=label)
            for label, style, width in styles
        ]
    handles += make_status_handles({status for sweep in sweeps for status in sweep.runs["status"]}, look)
    if strokes:
        handles += [
            Line2D([], [], color=look.text, linestyle=stroke, linewidth=1.8 * look.weight, label=label)
            for stroke, label in zip(strokes, label_differences(sweeps), strict=True)
        ]
    return handles


# ---------------------------------------------------------------- the chart of the report


def chart_accuracy(sweep: SweepFrame) -> Chart:
    """Returns the chart of test accuracy against depth for both families, the curve itself."""
    families = sweep.config.families
    lines = read_lines(sweep, families, metrics=("test_accuracy",))

    def draw(look: Theme) -> Figure:
        networks = NetworkAxis()
        with applied(look):
            figure, axes = make_figure()
            for (family, metric), line in lines.items():
                ink = look.families[family]
                draw_points(axes, networks.arrange(line.points, family), ink=ink)
                draw_seeds(
                    axes, sweep.runs, numbers=(family, metric), ink=ink,
                    locate=partial(networks.locate, family, steps=2.2),
                )  # fmt: skip
            draw_chance(axes, sweep, look=look)
            finish_accuracy_axes(axes, sorted(set(sweep.runs["depth"])), label="test accuracy", look=look)
            axes.legend(handles=make_family_handles(families, look), loc="best")
            return figure

    caption = "Test accuracy against depth: dots are seeds, bars 95 % intervals of the mean over them."
    return Chart(caption, narrate(lines.values()), tabulate(lines.values()), draw)


def finish_accuracy_axes(
    axes: Axes, depths: Sequence[int], *, label: str, look: Theme, decimals: int = 0
) -> None:
    """Gives the axes a depth scale and one of percent within 0 and 1."""
    set_depth_axis(axes, depths, look=look)
    axes.set_ylabel(label)
    set_value_axis(axes, "accuracy", look=look, decimals=decimals)
