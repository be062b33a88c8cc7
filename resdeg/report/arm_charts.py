"""Arms: each one's accuracy against depth, the grid's faint behind it; and the section of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from textwrap import fill

from resdeg.analysis.arms import ArmCurve, ChosenFall, ChosenRate, choose_rates, compare_arms, compute_falls
from resdeg.analysis.curve import add_errors, read_points
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import POINTS
from resdeg.errors import UsageError
from resdeg.report.canvas import Axes, Figure, Line2D
from resdeg.report.chart import Chart, Table, narrate, read_lines
from resdeg.report.fitting import add_legend, add_title, count_across, title_panel
from resdeg.report.marks import draw_chance, draw_points, draw_seeds, draw_unfinished, make_family_handles
from resdeg.report.options import DEFAULTS, FigureOptions, Y, choose_panels
from resdeg.report.scales import WIDE, NetworkAxis, read_axes, set_network_axis, set_value_axis
from resdeg.report.style import Theme, applied
from resdeg.report.svg import Picture, embed
from resdeg.report.text import describe_runs, name_data, spell_cell
from resdeg.report.units import changed, percent

_FAINT = "66"  # opacity of the grid's lines, as the last two digits of a colour
_ACROSS = 3  # panels in a row of a figure by itself
COLUMNS = (
    "Means of finished runs. A fall is from the best depth to the deepest, in points; that in training is "
    "of clean accuracy, from its own best depth. The last column is test accuracy minus the grid's, in "
    "points, at the deepest depth of both, paired by seed, with its 95 % interval. It is not corrected for "
    "how many arms there are"
)
INTRO = f"{COLUMNS}; claims are decided by their own rules, above."
RATES_INTRO = (
    "The learning rate that each depth would choose: among those that were tried, the one of the highest "
    "mean accuracy on the images held out of training. Test accuracy chose nothing."
)
HEAD = ["networks", "family", "depths", "best", "deepest", "fall in test", "in training", "minus the grid"]


# ---------------------------------------------------------------- the figure


def draw_arms(sweeps: Sequence[SweepFrame], look: Theme, options: FigureOptions = DEFAULTS) -> Figure:
    """Draws test accuracy against depth, a panel per arm: the arm's curve, and behind it its grid's.

    Raises:
        UsageError: a sweep has no arm with a record, or the options ask for what cannot be drawn.
    """
    arms = [(sweep, arm) for sweep in sweeps for arm in require_arms(sweep).values()]
    names = list(dict.fromkeys(arm.arm for _, arm in arms))
    chosen = choose_panels(names, options, kind="arms")
    panels = [(sweep, arm) for sweep, arm in arms if arm.arm in chosen]
    look = look.scaled(options.points)
    across = _ACROSS if options.size is None else count_across(options, most=_ACROSS)
    with applied(look):
        figure = _draw_panels(
            panels, look, across=min(across, len(panels)), width=3.3, letters=36, options=options,
            several=len(sweeps) > 1 or bool(options.labels),
        )  # fmt: skip
        word = "error" if options.y in ("error", "log-error") else "accuracy"
        title = f"Test {word} of the arms on {name_data(sweeps[0].config)}"
        add_title(figure, title, describe_runs(sweeps[0]), look=look, options=options)
        return figure


def require_arms(sweep: SweepFrame) -> dict[str, SweepFrame]:
    """Returns the arms of `sweep`.

    Raises:
        UsageError: it has none.
    """
    if not sweep.arms:
        raise UsageError(
            f"{sweep.folder}: no arm has a record",
            "sweep with an arm first, e.g. --set arms.wide.model.width=2.0, or let it finish an epoch",
        )
    return sweep.arms


def _draw_panels(
    panels: Sequence[tuple[SweepFrame, SweepFrame]],
    look: Theme,
    *,
    across: int,
    width: float,
    letters: int,
    several: bool = False,
    options: FigureOptions = DEFAULTS,
) -> Figure:
    """Draws a panel per sweep and arm.

    Args:
        width: that of a panel, in inches. letters: how many fit into a line of a panel's title.
        several: whether titles name the sweeps.
    """
    rows = -(-len(panels) // across)
    size = options.choose_size(max(4.5, width * across), 1.2 + 2.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, across, squeeze=False, sharey=True)
    frames = [frame for pair in panels for frame in pair]
    positions, ticks = read_axes(frames, options)
    y: Y = options.y or "accuracy"
    values: list[float] = []
    for number, (axes, (sweep, arm)) in enumerate(zip(grid.flat, panels, strict=False)):
        pair = positions[2 * number : 2 * number + 2]
        values += _draw_arm(axes, (sweep, arm), positions=pair, y=y, look=look)
        name = arm.name if several else arm.arm
        changes = changed(sweep.config.changes(arm.arm))
        lines = changes if options.fitted else fill(changes, letters)
        title_panel(axes, f"{name}\n{lines}", across=across, options=options, fontsize=look.points(8.5))
    for axes in grid.flat:
        set_network_axis(axes, ticks, options=options, look=look)
        label = axes.get_xlabel() if options.fitted else "depth (log scale)"
        axes.set_xlabel("")
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes in list(grid.flat)[: len(panels)][-across:]:  # the last panel of each column
        axes.set_xlabel(label)
    for axes in grid[:, 0]:
        axes.set_ylabel("test accuracy" if y == "accuracy" else "test error")
    set_value_axis(grid[0][0], y, values=values, look=look, margins=WIDE if options.fitted else (0.02, 0.05))
    handles = make_family_handles(panels[0][0].config.families, look)
    handles.append(Line2D([], [], color=look.text + _FAINT, linewidth=1.8 * look.weight, label="the grid"))
    add_legend(figure, handles, columns=len(handles), look=look, options=options)
    return figure


def _draw_arm(
    axes: Axes,
    frames: tuple[SweepFrame, SweepFrame],
    *,
    positions: Sequence[NetworkAxis],
    y: Y,
    look: Theme,
) -> list[float]:
    """Draws a grid and one of its arms, and returns the means in sight."""
    metric, log = "test_accuracy" if y == "accuracy" else "test_error", y == "log-error"
    sweep, arm = frames
    values: list[float] = []
    for frame, networks in zip(frames, positions, strict=True):
        for family in frame.config.families:
            ink = look.families[family]
            if frame is sweep:
                ink = replace(ink, colour=ink.colour + _FAINT)
            points = read_points(frame.curve, family, metric=metric)
            draw_points(axes, networks.arrange(points, family), ink=ink, log=log)
            values += [point.mean for point in points.values()]
            if frame is arm:
                draw_seeds(
                    axes, add_errors(frame.runs), numbers=(family, metric), ink=ink,
                    locate=partial(positions[1].locate, family, steps=2.2),
                )  # fmt: skip
    draw_unfinished(
        axes, add_errors(arm.runs), look=look, metric=metric,
        locate=positions[1].locate,
    )  # fmt: skip
    draw_chance(axes, sweep, look=look, error=y != "accuracy")
    return values


# ---------------------------------------------------------------- the section of the report


@dataclass(frozen=True)
class ArmSection:
    """The arms as a picture and a table; with images held out, chosen rates and the falls they leave."""

    intro: str
    figure: Picture
    table: Table
    rates_intro: str
    rates: Table | None
    falls: list[str]


def make_arm_section(evidence: Evidence) -> ArmSection | None:
    """Returns the section; None where no arm has a record."""
    sweep = evidence.sweep
    if not sweep.arms:
        return None
    chart = chart_arms(sweep)
    figure = embed(chart, name="arms", title="Test accuracy against depth in each arm")
    assert figure is not None
    assert chart.table is not None
    rates = choose_rates(evidence)
    falls = [_describe_fall(fall) for fall in compute_falls(rates)]
    return ArmSection(INTRO, figure, chart.table, RATES_INTRO, _tabulate_rates(sweep, rates), falls)


def chart_arms(sweep: SweepFrame) -> Chart:
    """Returns the chart of all arms, two panels across, as wide as the report's other figures."""
    panels = [(sweep, arm) for arm in sweep.arms.values()]

    def draw(look: Theme) -> Figure:
        across = min(2, len(panels))
        with applied(look):
            return _draw_panels(panels, look, across=across, width=4.5 / across, letters=28)

    texts = [
        f"{_name_arm(sweep, name)}. "
        + narrate(read_lines(arm, arm.config.families, metrics=("test_accuracy",)).values())
        for name, arm in sweep.arms.items()
    ]
    return Chart(
        "Test accuracy against depth, an arm each; faint: the grid.",
        " ".join(texts),
        (HEAD, [_row(sweep, curve) for curve in compare_arms(sweep)]),
        draw,
    )


def _row(sweep: SweepFrame, curve: ArmCurve) -> list[str]:
    depths = ", ".join(map(str, curve.depths))
    lost = f" (diverged: {', '.join(map(str, curve.diverged))})" if curve.diverged else ""
    falls = (curve.fall, curve.training_fall)
    return [
        _name_arm(sweep, curve.arm) if curve.arm else "the grid",
        curve.family,
        depths + lost,
        f"{percent(curve.best_accuracy)} at {curve.best}".replace(" ", "\N{NO-BREAK SPACE}"),
        percent(curve.deepest_accuracy) + ("" if curve.trained else ", untrainable"),
        *("-" if fall is None else POINTS.spell(fall, signed=False) for fall in falls),
        _spell_difference(curve),
    ]


def _name_arm(sweep: SweepFrame, arm: str) -> str:
    return f"{arm}: {changed(sweep.config.changes(arm)) or 'nothing is changed'}"


def _spell_difference(curve: ArmCurve) -> str:
    difference = curve.difference
    if difference is None:
        return "-"
    words = [POINTS.spell(difference.mean), f"at {curve.common}"]
    if difference.low is not None and difference.high is not None:
        words.insert(1, f"({POINTS.spell(difference.low)} to {POINTS.spell(difference.high)})")
    return " ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)


def _describe_fall(fall: ChosenFall) -> str:
    recipe = "" if fall.recipe is None else f"; at the recipe's, {POINTS.spell(fall.recipe, signed=False)}"
    chosen = POINTS.spell(fall.chosen, signed=False)
    return (
        f"From depth {fall.best}, the best of {fall.family} networks by validation, to depth {fall.deepest} "
        f"test accuracy falls by {chosen} points at the chosen rates{recipe}."
    )


def _tabulate_rates(sweep: SweepFrame, rates: Sequence[ChosenRate]) -> Table | None:
    rows = [
        [
            f"{rate.family}-{rate.depth}",
            ", ".join(f"{tried:g}" for tried in rate.tried),
            f"{rate.chosen:g}",
            spell_cell(rate.validation),
            spell_cell(rate.recipe),
            spell_cell(rate.test),
        ]
        for rate in rates
    ]
    own = f"test accuracy, recipe's rate {sweep.config.training.lr:g}"
    head = ["network", "rates", "chosen", "validation accuracy", own, "test accuracy, chosen rate"]
    return (head, rows) if rows else None
