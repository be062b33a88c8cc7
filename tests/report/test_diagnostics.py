"""Figures of diagnostics: the numbers of the records, in their places, and nothing where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import same_color

from resdeg.analysis.diagnostics import DIAGNOSTIC_COLUMNS, digest, load_diagnostics
from resdeg.analysis.frame import load_sweep
from resdeg.cli.plot import KINDS
from resdeg.errors import UsageError
from resdeg.report.kinds import FIGURES
from resdeg.report.panels import PAGES
from resdeg.report.style import THEMES
from tests.planted import CELLS, diagnosed, planted

LOOK = THEMES["light"]


@pytest.fixture
def sweep(tmp_path: Path):
    diagnosed(planted(tmp_path / "s", CELLS))
    return load_sweep(tmp_path / "s")


def drawn(axes, family: str, style: str = "-", bold: bool = True) -> list[tuple[list[float], list[float]]]:
    """Lines of a family as (x, y), in order of x."""
    colour = LOOK.families[family].colour
    lines = [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in axes.lines
        if same_color(line.get_color(), colour)
        and line.get_linestyle() == style
        and (line.get_linewidth() > 1) == bold
    ]
    return sorted(lines)


def test_a_line_is_the_mean_over_seeds_and_each_seed_is_there(sweep) -> None:
    figure = FIGURES["responses"]([sweep], LOOK)
    in_order = figure.axes[1]  # depth 20
    assert in_order.get_title(loc="left") == "depth 20"
    for family, offset in (("plain", 1), ("residual", 0)):
        lines = drawn(in_order, family)
        assert [x for x, _ in lines] == [
            list(map(float, part)) for part in (range(1, 8), range(8, 14), range(14, 20))
        ], "broken between stages"
        y = np.concatenate([y for _, y in lines])
        assert y == pytest.approx(0.1 * np.arange(1, 20) + 0.01 + offset), "seeds 0, 1, 2: 0.01 in the mean"
        seeds = drawn(in_order, family, bold=False)
        assert len(seeds) == 9
        assert sorted(y[0] for x, y in seeds if x[0] == 1) == pytest.approx(
            [offset + 0.1 + 0.01 * seed for seed in range(3)]
        )
    assert len(drawn(in_order, "plain", "--")) == 3, "and the initial values"


def legend(sweep) -> set[str]:
    return {text.get_text() for text in FIGURES["responses"]([sweep], LOOK).legends[0].get_texts()}


def test_the_legend_names_what_is_drawn(sweep, tmp_path: Path) -> None:
    assert "at initial values" in legend(sweep)
    for path in tmp_path.glob("s/runs/*/diagnostics.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"initial"' not in line))
    trained_only = legend(load_sweep(tmp_path / "s"))
    assert "trained" in trained_only
    assert "at initial values" not in trained_only


def test_ranked_responses_fall(sweep) -> None:
    figure = FIGURES["responses"]([sweep], LOOK)
    ((x, y),) = drawn(figure.axes[3], "residual")
    assert x == list(range(1, 20))
    assert y == pytest.approx([0.1 * layer + 0.01 for layer in range(19, 0, -1)])


@pytest.mark.parametrize(("kind", "panels"), [("identity", 5), ("lesions", 2)])
def test_blocks_that_change_the_shape_are_a_gap(sweep, kind: str, panels: int) -> None:
    figure = FIGURES[kind]([sweep], LOOK)
    assert len(figure.axes) == 2 * panels, "a column per depth"
    for axes in figure.axes[1::2]:
        assert [x for x, _ in drawn(axes, "residual")] == [[1, 2, 3], [5, 6], [8, 9]]
    alone = drawn(figure.axes[0], "plain")  # depth 8 has one block that keeps its shape
    assert [x for x, _ in alone] == [[0.7, 1.3]]
    assert alone[0][1] == pytest.approx([1.11, 1.11])


def test_lesions_stand_beside_the_intact_net(sweep) -> None:
    top = FIGURES["lesions"]([sweep], LOOK).axes[1]
    for family, level in (("plain", 1.01), ("residual", 0.01)):
        ((_, y),) = drawn(top, family, ":")
        assert y == pytest.approx([level, level])
    assert len(drawn(top, "plain", "--")) == 3


def test_gradients_of_the_layers_stand_over_the_net_s_correlation(sweep) -> None:
    norms, correlation = FIGURES["gradients"]([sweep], LOOK).axes[1::2]
    assert norms.get_yscale() == "log"
    for style in ("-", "--"):
        lines = drawn(norms, "residual", style)
        assert [x for x, _ in lines] == [[*range(1, 8)], [*range(8, 14)], [*range(14, 20)]]
        assert np.concatenate([y for _, y in lines]) == pytest.approx(0.1 * np.arange(1, 20) + 0.01)
        ((_, level),) = drawn(correlation, "plain", style)
        assert level == pytest.approx([1.01, 1.01])
    assert correlation.get_ylim()[0] == 0
    assert "1,000 training images" in FIGURES["gradients"]([sweep], LOOK).get_suptitle()


def test_what_is_below_0_is_not_cut_off_and_small_levels_fill_the_axis(sweep) -> None:
    for path in sweep.folder.glob("runs/*/diagnostics.jsonl"):
        path.write_text(re.sub(r'("name":"correlation","value":)[^,]*', r"\g<1>-0.02", path.read_text()))
    correlation = FIGURES["gradients"]([sweep], LOOK).axes[-1]
    low, high = correlation.get_ylim()
    assert low <= -0.02
    assert high < 0.01


def test_probes_start_at_the_stem(sweep) -> None:
    axes = FIGURES["probes"]([sweep], LOOK).axes[1]
    assert [x for x, _ in drawn(axes, "plain")] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_two_sweeps_stand_side_by_side_and_say_their_names(sweep) -> None:
    figure = FIGURES["probes"]([sweep, sweep], LOOK)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["s: depth 8", "s: depth 20"] * 2


def test_a_figure_says_what_made_it(sweep) -> None:
    title = FIGURES["identity"]([sweep], LOOK).get_suptitle()
    for part in ("CIFAR-10", "2 epochs", "seeds 0-2", "1,000 held-out images", "left out"):
        assert part in title


@pytest.mark.parametrize("kind", PAGES)
def test_without_diagnostics_it_says_how_to_get_them(tmp_path: Path, kind: str) -> None:
    planted(tmp_path / "s", CELLS)
    with pytest.raises(UsageError, match=rf"resdeg diagnose .* --kinds {PAGES[kind].kind}"):
        FIGURES[kind]([load_sweep(tmp_path / "s")], LOOK)


def test_the_median_block_goes_from_step_0_to_the_last(sweep) -> None:
    """Over the snapshots; depth 20 has 2, 3, 5, 6, 8 and 9 beside block 1, which keep their shape."""
    figure = FIGURES["development"]([sweep], LOOK)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["depth 8", "depth 20"]
    for axes in (figure.axes[1], figure.axes[3]):
        for family, offset in (("plain", 1), ("residual", 0)):
            ((x, y),) = [line for line in drawn(axes, family) if len(line[0]) > 1]
            assert x == [0, 391, 782]
            assert y == pytest.approx([offset + 0.51, offset + 0.51 + 0.391, offset + 0.51])
            assert len(drawn(axes, family, bold=False)) == 3
    title = figure.get_suptitle()
    assert "median over the blocks" in title
    assert "step 0" in title


def test_without_snapshots_there_is_no_development_to_draw(sweep) -> None:
    for path in sweep.folder.glob("runs/*/diagnostics.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"state":391' not in line))
    with pytest.raises(UsageError, match=r"execution\.snapshots=N, then run `resdeg diagnose"):
        FIGURES["development"]([sweep], LOOK)


def test_the_command_names_every_figure() -> None:
    assert list(KINDS) == list(FIGURES)


# ---------------------------------------------------------------- the frame


def test_the_frame_has_a_row_per_record(sweep) -> None:
    frame, _ = load_diagnostics(sweep.folder)
    assert list(frame.columns) == DIAGNOSTIC_COLUMNS
    rows = frame[(frame["family"] == "plain") & (frame["depth"] == 20) & (frame["seed"] == 2)]
    layer = rows[(rows["kind"] == "responses") & (rows["state"] == "final") & (rows["layer"] == 19)]
    assert layer[["block", "stage", "images"]].to_numpy().tolist() == [[9, 3, 1000]]
    assert layer["value"].item() == pytest.approx(1.9 + 0.02 + 1)
    intact = rows[rows["name"] == "intact_accuracy"]
    assert intact[["layer", "block", "stage"]].isna().all(axis=None)


def test_depth_2_stands_in_both_families_and_a_missing_number_stays_missing(tmp_path: Path) -> None:
    cells = {(family, 2): [0.3] for family in ("plain", "residual")}
    store = planted(tmp_path / "s", cells)
    path = store.run(store.run_ids()[0]).folder / "diagnostics.jsonl"
    path.write_text(
        '{"schema_version":3,"kind":"responses","state":782,"name":"std","value":null,"images":5,'
        '"layer":1,"not_finite":{"value":"nan"}}\n'
    )
    frame, _ = load_diagnostics(store.folder)
    assert frame["family"].tolist() == ["plain", "residual"]
    assert frame["state"].tolist() == [782, 782]
    assert frame["value"].isna().all()
    row = digest(frame)
    assert len(row) == 1
    assert row[["first", "median", "last"]].isna().all(axis=None), "and never becomes 0"


def test_a_sweep_that_was_not_measured_has_an_empty_frame(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    frame, _ = load_diagnostics(tmp_path / "s")
    assert frame.empty
    assert list(frame.columns) == DIAGNOSTIC_COLUMNS


def test_damage_is_said_with_its_line_and_hides_no_other_run(sweep) -> None:
    path = next((sweep.folder / "runs").glob("plain-d8-s0*")) / "diagnostics.jsonl"
    path.write_text(path.read_text().replace('"value":', '"values":', 1))
    frame, problems = load_diagnostics(sweep.folder)
    assert re.search(r"diagnostics\.jsonl:1: damaged", problems[0])
    assert len(problems) == 1
    assert set(frame.loc[frame["depth"] == 8, "seed"]) == {0, 1, 2}
    assert set(frame.loc[(frame["depth"] == 8) & (frame["family"] == "plain"), "seed"]) == {1, 2}
    figure = FIGURES["responses"]([sweep], THEMES["light"])
    assert "diagnostics.jsonl:1:damaged" in "".join(figure.get_suptitle().split())  # lines are broken


def test_the_digest_is_over_places(sweep) -> None:
    table = digest(load_diagnostics(sweep.folder)[0]).set_index(["kind", "name", "state"])
    plain = table[table["run_id"].str.startswith("plain-d20-s0")]
    row = plain.loc[("responses", "std", "final")]
    assert (row["places"], row["images"]) == (19, 1000)
    assert [row["first"], row["median"], row["last"]] == pytest.approx([1.1, 2.0, 2.9])
