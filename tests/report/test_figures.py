"""Figures: the same bytes from the same data, and what they must show is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import to_rgb

from resdeg.analysis.frame import load_sweep
from resdeg.errors import UsageError
from resdeg.report.curve_chart import TRAINING
from resdeg.report.kinds import FIGURES
from resdeg.report.marks import TEST
from resdeg.report.style import FORMATS, THEMES, render
from resdeg.report.text import describe_runs
from resdeg.report.training_chart import CLEAN
from tests.planted import CELLS, diagnosed, planted


@pytest.fixture
def sweep(tmp_path: Path):
    arm = {"arms": {"wide": {"model": {"width": 2.0}}}, "of_arms": {"wide": {"accuracy": CELLS}}}
    diagnosed(planted(tmp_path / "s", CELLS, **arm))
    return load_sweep(tmp_path / "s")


# Every format in every theme of the first two; of the others, which have many panels, one each.
LOOKS = [(kind, form, theme) for kind in list(FIGURES)[:2] for form in FORMATS for theme in THEMES]
LOOKS += [
    (kind, form, theme)
    for kind, form, theme in zip(list(FIGURES)[2:], [*FORMATS] * 3, [*THEMES] * 4, strict=False)
]


@pytest.mark.parametrize(("kind", "form", "theme"), LOOKS)
def test_bytes_repeat(sweep, kind: str, form: str, theme: str) -> None:
    first, second = (render(FIGURES[kind]([sweep], THEMES[theme]), form, "about") for _ in range(2))
    assert first == second
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "eps": b"%!PS-Adobe", "pgf": b"%% Creator"}
    assert first.startswith(heads[form])


def test_the_points_drawn_are_the_points_of_the_table(sweep) -> None:
    figure = FIGURES["curve"]([sweep], THEMES["light"])
    top, bottom = figure.axes
    drawn = [
        line.get_ydata() for line in top.lines if line.get_linestyle() == TEST and len(line.get_ydata()) == 2
    ]
    assert [list(y) for y in drawn[:2]] == [pytest.approx([0.71, 0.62]), pytest.approx([0.71, 0.81])]
    dashed = [line for line in bottom.lines if line.get_linestyle() == TRAINING]
    assert list(dashed[0].get_ydata()) == pytest.approx([0.28, 0.37])
    seeds = [
        len(collection.get_offsets()) for collection in top.collections if hasattr(collection, "get_offsets")
    ]
    assert 6 in seeds, "every seed is a point"


def test_a_figure_says_what_made_it(sweep) -> None:
    text = describe_runs(sweep)
    for part in ("2 epochs", "lr 0.1 triangle", "fp32", "seeds 0-2", "95 % Student-t"):
        assert part in text
    figure = FIGURES["curve"]([sweep], THEMES["light"])
    assert "CIFAR-10" in figure.get_suptitle()
    assert "2 epochs" in figure.axes[0].get_title(loc="left")


def test_unfinished_and_diverged_runs_are_named(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    for run_id, status in zip(store.run_ids(), ("diverged", "stopped"), strict=False):
        run = store.run(run_id)
        summary = run.summary().model_copy(update={"status": status})
        (run.folder / "summary.json").write_text(summary.to_json())
    sweep = load_sweep(tmp_path / "s")
    assert "10 of 12 points finished; 1 diverged, 1 stopped" in describe_runs(sweep)
    figure = FIGURES["curve"]([sweep], THEMES["light"])
    assert {"X", "v"} <= {line.get_marker() for line in figure.axes[0].lines}


def test_families_differ_in_light_and_dark_and_without_colour() -> None:
    for look in THEMES.values():
        plain, residual = look.families["plain"], look.families["residual"]
        assert plain.marker != residual.marker
        assert plain.filled != residual.filled
        paper = luminance(look.paper)
        for ink in (plain, residual):
            light, dark = sorted((luminance(ink.colour), paper), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 4.5, "readable on its paper (WCAG AA)"


def luminance(colour: str) -> float:
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in to_rgb(colour)
    ]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_sweep_with_two_evaluations_shows_the_one_it_says(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    for run_id in store.run_ids():
        run = store.run(run_id)
        numbers = {"image_test_accuracy": 0.9, "image_train_accuracy": 0.95}
        summary = run.summary().model_copy(update=numbers)
        (run.folder / "summary.json").write_text(summary.to_json())
        lines = [record.model_copy(update={"image_test_accuracy": 0.9}).to_json() for record in run.metrics()]
        (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    both = load_sweep(tmp_path / "s")
    assert both.evaluations == ["image", "running"]
    assert set(both.curve["metric"]) >= {"test_accuracy", "image_test_accuracy"}
    for by, first, words in (
        ("image", [0.9, 0.9], "each image's own"),
        ("running", [0.71, 0.62], "running statistics"),
    ):
        shown = both.evaluated(by)
        assert words in describe_runs(shown)
        figure = FIGURES["curve"]([shown], THEMES["light"])
        plain = next(line for line in figure.axes[0].lines if len(line.get_ydata()) == 2)
        assert list(plain.get_ydata()) == pytest.approx(first)


def test_an_evaluation_that_was_not_recorded_is_refused(sweep) -> None:
    assert sweep.evaluations == ["running"]
    assert "evaluated" not in describe_runs(sweep)
    with pytest.raises(UsageError, match="'image' was not recorded"):
        sweep.evaluated("image")


def test_clean_training_error_is_drawn_where_it_was_recorded(sweep, tmp_path: Path) -> None:
    def drawn(shown) -> tuple[list[list[float]], list[str]]:
        figure = FIGURES["training"]([shown], THEMES["light"])
        lines = [line for line in figure.axes[0].lines if line.get_linestyle() == CLEAN]
        return [list(line.get_ydata()) for line in lines], [
            text.get_text() for text in figure.legends[0].texts
        ]

    assert drawn(sweep) == ([], ["plain", "residual", "test", "training (running mean)"])
    store = planted(tmp_path / "new", CELLS)
    for run_id in store.run_ids():
        run = store.run(run_id)
        lines = [
            record.model_copy(update={"clean_train_accuracy": 0.9}).to_json() for record in run.metrics()
        ]
        (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    dotted, labels = drawn(load_sweep(tmp_path / "new"))
    assert dotted == [pytest.approx([0.1, 0.1])] * 2, "the mean of each family, no hair of seeds"
    assert labels[-1] == "training (clean, fixed images)"
