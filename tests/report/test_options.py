"""Figures with choices: sizes at which nothing is cut or touches, panels, axes, names and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.analysis.frame import SweepFrame, load_sweep
from resdeg.errors import UsageError
from resdeg.report.figures import draw_sweeps
from resdeg.report.options import DEFAULTS, read_options
from tests.planted import CELLS, diagnosed, planted
from tests.report.layout import list_faults, list_ticks

DENSE = {
    (family, depth): [0.9 - loss * depth]
    for family, loss in (("plain", 0.002), ("residual", 0.0))
    for depth in range(2, 111, 6)
}
LONG = "A title that is much longer than one column of a paper is wide"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepFrame:
    folder = tmp_path_factory.mktemp("options") / "s"
    arms = {"wide": {"model": {"width": 2.0}}, "turned": {"model": {"init": "orthogonal"}}}
    diagnosed(planted(folder, CELLS, arms=arms, of_arms={name: {"accuracy": CELLS} for name in arms}))
    return load_sweep(folder)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> SweepFrame:
    planted(tmp_path_factory.mktemp("dense") / "s", DENSE)
    return load_sweep(tmp_path_factory.getbasetemp() / "dense0" / "s")


def draw(sweeps: SweepFrame | list[SweepFrame], kind: str = "curve", **options: object):
    given = sweeps if isinstance(sweeps, list) else [sweeps]
    return draw_sweeps(given, kind, options=read_options(**options)).figure  # type: ignore[arg-type]


# ---------------------------------------------------------------- what may be asked for


@pytest.mark.parametrize(
    ("size", "inches"),
    [
        ("3.25x2.4", (3.25, 2.4)), ("8cmx6cm", (3.1496, 2.3622)), ("84mmx60mm", (3.3071, 2.3622)),
        ("8x6cm", (3.1496, 2.3622)), ("3.25in x 2.4in", (3.25, 2.4)), ("240pt×180pt", (3.3209, 2.4907)),
        ((3.25, 2.4), (3.25, 2.4)), ("8CM,6CM", (3.1496, 2.3622)), ("3x.5in", None), ("1x60", (1.0, 60.0)),
    ],
)  # fmt: skip
def test_a_size_has_two_sides(size: object, inches: tuple[float, float] | None) -> None:
    if inches is None:
        with pytest.raises(UsageError, match="not between 1 and 60 inches"):
            read_options(size=size)  # type: ignore[arg-type]
    else:
        assert read_options(size=size).size == pytest.approx(inches, abs=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "0x2"}, "--size 0x2 is not between 1 and 60 inches"),
        ({"size": "-3x2"}, "--size -3x2 is not understood"),
        ({"size": "3.25"}, "such as 3.25x2.4 in inches, or 8cmx6cm"),
        ({"size": "3x2x1"}, "not understood"),
        ({"size": "nanxinf"}, "not understood"),
        ({"size": (float("nan"), 2)}, "not between"),
        ({"size": (3, 2, 1)}, "not between"),
        ({"size": "column"}, "not understood"),
        ({"size": "900cmx6cm"}, "not between"),
        ({"size": "50x50", "dpi": 2400}, "more than 30,000 pixels"),
        ({"dpi": 0}, "--dpi 0 is not between 20 and 2400"),
        ({"font_size": 0.0}, "--font-size 0 is not between 4 and 40 points"),
        ({"font_size": float("nan")}, "--font-size nan is not between"),
        ({"x": "width"}, "--x width is not known"),
        ({"scale": "logg"}, "did you mean 'log'?"),
        ({"y": "loss"}, "--y loss is not known"),
        ({"labels": "a,,b"}, "--labels: a name is empty"),
        ({"panel": ""}, "--panel: a name is empty"),
    ],
)
def test_what_is_absurd_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_options(**options)  # type: ignore[arg-type]
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("training", {"x": "parameters"}, "--x is not for --kind training"),
        ("training", {"scale": "linear"}, "--scale is not for --kind training"),
        ("identity", {"y": "error"}, "--y is not for --kind identity"),
        ("arms", {"overlay": True}, "--overlay is not for --kind arms"),
        ("curve", {"overlay": True}, "--overlay needs two sweeps"),
        ("curve", {"labels": "a,b"}, "--labels names 2, and 1 is drawn"),
        ("curve", {"panel": "acuracy"}, "did you mean 'accuracy'?"),
        ("identity", {"panel": "cka,x"}, "its panels: branch, distance, cosine, cka, linear-residual"),
        ("training", {"panel": "56"}, "its panels: 8, 20"),
        ("arms", {"panel": "wild"}, "did you mean 'wide'?"),
        ("curve", {"size": "1x1"}, "has too little room"),
        ("identity", {"size": "3.25x2.4"}, "fewer panels (--panel)"),
        ("curve", {"size": "3x2", "font_size": 30.0}, "a smaller --font-size"),
    ],
)
def test_what_a_kind_cannot_follow_is_refused(
    sweep, kind: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        draw(sweep, kind, **options)
    assert words in str(refusal.value)


# ---------------------------------------------------------------- nothing is cut, nothing touches


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("curve", {"size": "3.25x2.4", "font_size": 8}),
        ("curve", {"size": "3.25x2.4", "panel": "accuracy", "title": ""}),
        ("curve", {"size": "2x1.7", "panel": "error", "font_size": 6}),
        ("curve", {"size": "6.75x2.4"}),
        ("curve", {"size": "84mmx90mm", "y": "log-error"}),
        ("curve", {"font_size": 16}),
        ("curve", {"size": "3.25x3", "title": LONG}),
        ("curve", {"size": "3.25x3", "title": LONG.replace(" ", "")}),
        ("curve", {"size": "3.25x3", "labels": f'"{LONG}, and a comma"'}),
        ("curve", {"size": "3.25x3", "labels": '"a label, of a sweep, that is longer than its column"'}),
        ("curve", {"size": "3.25x2.6", "scale": "linear", "x": "multiply-adds", "panel": "accuracy"}),
        ("training", {"size": "3.25x2.6"}),
        ("training", {"size": "3.25x2.2", "panel": "20", "y": "log-error"}),
        ("arms", {"size": "3.25x2.8"}),
        ("arms", {"size": "3.25x2.6", "panel": "turned", "y": "error"}),
        ("identity", {"size": "6.75x6"}),
        ("identity", {"size": "3.25x2.4", "panel": "cka"}),
        ("lesions", {"size": "3.25x3.4"}),
        ("gradients", {"size": "3.25x3.4", "font_size": 7}),
    ],
)  # fmt: skip
def test_all_text_fits_at_its_printed_size(sweep, kind: str, options: dict[str, object]) -> None:
    figure = draw(sweep, kind, **options)
    assert list_faults(figure) == []
    if "size" in options:
        assert tuple(figure.get_size_inches()) == read_options(size=options["size"]).size  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"size": "3.25x2.4"}, {"size": "3.25x2.4", "scale": "linear"}])
def test_labels_of_dense_depths_do_not_touch(dense, options: dict[str, object]) -> None:
    figure = draw(dense, **options)
    ticks = list_ticks(figure, axes=-1)
    assert ticks[0] == "2"
    assert ticks[-1] == "110"
    assert 4 < len(ticks) < 19, "some are left out"
    assert list(figure.axes[-1].get_xticks()) == [*range(2, 111, 6)], "every depth has its mark"
    assert len(figure.axes[0].lines[0].get_xdata()) == 19, "every depth is drawn"
    faults = list_faults(figure)
    touching = [fault for fault in faults if any(f"'{tick}' touches" in fault for tick in ticks)]
    assert touching == []


def test_more_depths_are_labelled_when_the_figure_grows(dense) -> None:
    figure = draw(dense, size="3.25x2.4")
    narrow = list_ticks(figure, axes=-1)
    figure.set_size_inches(14, 6)
    assert len(list_ticks(figure, axes=-1)) > len(narrow)


# ---------------------------------------------------------------- title, panels, axes


def test_a_title_is_ours_or_the_users_or_none(sweep) -> None:
    ours, users, none = (
        draw(sweep, size="6x5", **title) for title in ({}, {"title": "Depth, 50 % & $x_1$"}, {"title": ""})
    )  # fmt: skip
    assert "CIFAR-10" in ours.get_suptitle()
    assert "lr 0.1" in ours.get_suptitle()
    assert users.get_suptitle() == "Depth, 50 % & $x_1$"
    assert none.get_suptitle() == ""
    assert "CIFAR-10" in draw(sweep, size="3.25x2.4").get_suptitle(), "the data are named however small"


def test_a_panel_is_drawn_by_itself(sweep) -> None:
    assert [axes.get_ylabel() for axes in draw(sweep, panel="error").axes] == ["error"]
    assert [axes.get_ylabel() for axes in draw(sweep, panel="accuracy").axes] == ["test accuracy"]
    chosen = draw(sweep, "identity", panel="cka,branch")
    labels = [axes.get_ylabel() for axes in chosen.axes if axes.get_ylabel()]
    assert labels == ["||F(x)|| / ||x||", "debiased CKA"]
    assert [axes.get_title(loc="left") for axes in draw(sweep, "training", panel="20").axes] == ["depth 20"]
    assert "wide" in draw(sweep, "arms", panel="wide").axes[0].get_title(loc="left")


@pytest.mark.parametrize(("x", "column"), [("parameters", "parameters"), ("multiply-adds", "multiply_adds")])
def test_x_counts_what_it_says(sweep, x: str, column: str) -> None:
    from dataclasses import replace

    counts = {8: 75_290, 20: 272_474}
    runs = sweep.runs.assign(**{column: sweep.runs["depth"].map(counts)})
    figure = draw(replace(sweep, runs=runs, arms={}), x=x, size="4x4", scale="linear")
    assert list_ticks(figure, axes=-1) == ["75 k", "0.27 M"]
    assert x in figure.axes[-1].get_xlabel()
    assert f"against {x}" in figure.get_suptitle()
    span = 272_474 - 75_290
    assert list(figure.axes[0].lines[0].get_xdata()) == pytest.approx([75_290, 272_474], abs=0.01 * span)


def test_y_is_accuracy_or_error(sweep) -> None:
    errors = draw(sweep, panel="accuracy", y="error").axes[0]
    assert list(errors.lines[0].get_ydata()) == pytest.approx([0.29, 0.38])
    assert errors.get_ylabel() == "test error"
    accuracies = draw(sweep, panel="error", y="accuracy").axes[0]
    assert list(accuracies.lines[0].get_ydata()) == pytest.approx([0.71, 0.62])
    logarithms = draw(sweep, panel="accuracy", y="log-error")
    axes = logarithms.axes[0]
    assert axes.get_yscale() == "log"
    logarithms.draw_without_rendering()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert {"20%", "30%"} <= set(labels)
    low, high = axes.get_ylim()
    assert low < 0.19 < 0.38 < high


def test_no_error_at_all_is_a_mark_below_a_log_axis(tmp_path: Path) -> None:
    cells = {("plain", 8): [1.0], ("plain", 20): [0.9], ("plain", 32): [0.99]}
    planted(tmp_path / "s", cells, trained=cells)
    axes = draw(load_sweep(tmp_path / "s"), panel="accuracy", y="log-error", size="3.25x2.4").axes[0]
    assert [line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1] == ["v"]
    assert list(next(line for line in axes.lines if len(line.get_xdata()) == 2).get_ydata()) == pytest.approx(
        [0.1, 0.01]
    )


# ---------------------------------------------------------------- several sweeps


@pytest.fixture
def schedules(tmp_path: Path) -> list[SweepFrame]:
    for name, epochs in (("short", 2), ("long", 20)):
        planted(tmp_path / name, CELLS, training={"epochs": epochs})
    return [load_sweep(tmp_path / name) for name in ("short", "long")]


def test_two_schedules_share_axes_only_with_overlay(schedules) -> None:
    with pytest.raises(UsageError, match="--overlay, which names the schedules"):
        draw(schedules)
    figure = draw(schedules, overlay=True, size="3.25x3.4")
    assert len(figure.axes) == 2
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"short: 2 epochs", "long: 20 epochs", "plain", "residual"} <= set(legend)
    strokes = [line.get_linestyle() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert {"-", "--"} <= set(strokes)
    assert "lr 0.1 triangle" in figure.get_suptitle(), "what is common to all is in the title"
    assert list_faults(figure) == []


def test_an_overlay_says_in_what_its_sweeps_differ(tmp_path: Path) -> None:
    plain, residual = (
        {cell: CELLS[cell] for cell in CELLS if cell[0] == name} for name in ("plain", "residual")
    )
    planted(tmp_path / "real", plain)
    planted(tmp_path / "made", residual, data={"name": "hierarchy"})
    sweeps = [load_sweep(tmp_path / name) for name in ("real", "made")]
    drawn = draw_sweeps(sweeps, "curve", options=read_options(overlay=True, size="6x4"))
    legend = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert {"plain", "residual", "real: CIFAR-10", "made: generated images (hierarchy)"} <= set(legend)
    assert "CIFAR-10 and generated images" in drawn.figure.get_suptitle()
    assert drawn.about.startswith("curve of plain and residual networks on CIFAR-10 and generated images")
    assert "real: recipe" in drawn.about
    assert "made: recipe" in drawn.about, "also for those who cannot see it"
    alone = draw_sweeps(sweeps[:1], "curve", options=read_options())
    assert alone.about.startswith("curve of plain networks on CIFAR-10. ")


def test_overlaid_sweeps_of_one_schedule_have_names_or_labels(schedules) -> None:
    twice = [schedules[0], schedules[0]]
    legend = [text.get_text() for text in draw(twice, overlay=True).legends[0].get_texts()]
    assert legend.count("short") == 2
    labelled = draw(twice, overlay=True, labels='"SGD, once",twice', panel="accuracy", size="3.25x2.6")
    assert {"SGD, once", "twice"} <= {text.get_text() for text in labelled.legends[0].get_texts()}
    with pytest.raises(UsageError, match="at most 6 sweeps, not 7"):
        draw([schedules[0]] * 7, overlay=True)


def test_labels_stand_above_columns_and_long_names_are_broken(schedules) -> None:
    figure = draw([schedules[0]] * 2, labels=f"first,{LONG}", size="3.25x4")
    titles = [axes.get_title(loc="left") for axes in figure.axes[:2]]
    assert titles[0] == "first"
    assert titles[1].replace("\n", " ") == LONG
    assert list_faults(figure) == []


def test_no_choice_leaves_a_figure_as_it_was(sweep) -> None:
    assert read_options() == DEFAULTS
    assert not DEFAULTS.fitted
    assert DEFAULTS.points == 10
    assert read_options(size="3.25x2.4").points == 8
