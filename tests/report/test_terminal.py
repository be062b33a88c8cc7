"""The end of a sweep in a terminal: table, curve, peaks and verdicts, in as many columns as there are."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from resdeg.analysis.curve import read_points
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame, load_sweep
from resdeg.analysis.judge import Verdict
from resdeg.report.terminal import choose_ticks, describe_claims, draw_curves, summarize_sweep
from tests.planted import CELLS, PLANTS, planted

WIDTHS = (40, 80, 200)
BRAILLE = re.compile("[\u2801-\u28ff]")


def load(folder: Path, *arguments: object, **tables: object) -> SweepFrame:
    planted(folder, *arguments, **tables)
    return load_sweep(folder)


def plane(lines: list[str]) -> list[str]:
    """The rows of the curve alone, right of its axis."""
    return [line.partition("│")[2] for line in lines if "│" in line]


@pytest.mark.parametrize("outcome", list(Verdict))
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_broader_than_the_terminal(tmp_path: Path, outcome: Verdict, width: int) -> None:
    lines = summarize_sweep(load(tmp_path / "s", **PLANTS[outcome]), width=width)
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("outcome", list(Verdict))
def test_the_verdicts_are_those_of_the_report_and_none_is_given_that_was_not_asked(
    tmp_path: Path, outcome: Verdict
) -> None:
    lines = describe_claims(Evidence(load(tmp_path / "s", **PLANTS[outcome])))
    assert [line[:2] for line in lines] == ["C1", "C2", "C3", "C4"]
    for line in lines:
        assert line[3:13].strip() == outcome
        assert ("It needs 3 seeds" in line) == (outcome is Verdict.NOT_ASKED)
        assert ("(3 seeds" in line) == (outcome is not Verdict.NOT_ASKED)


def test_a_sweep_that_is_not_whole_has_no_verdict_and_no_peak(tmp_path: Path) -> None:
    from resdeg.analysis.rules import registered_rules

    rules = registered_rules()
    begun = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 3}
    sweep = load(tmp_path / "s", PLANTS[Verdict.SUPPORTED]["accuracy"], missing=1, registration=begun)
    text = "\n".join(summarize_sweep(sweep, width=200))
    assert text.count("NOT ASKED   interim, ") == 4
    assert "peak" not in text
    assert "17 of 18 points finished; 1 missing" in text
    assert "o plain" in text, "the curve so far is drawn"


def test_noise_at_chance_has_no_peak(tmp_path: Path, resdeg) -> None:
    """Depth 2 has learnt, and no plain network with a block; the residual ones have."""
    accuracy = {
        ("plain", 2): [0.4, 0.41, 0.42], ("plain", 8): [0.11, 0.1, 0.12], ("plain", 20): [0.1, 0.09, 0.1],
        ("residual", 2): [0.4, 0.41, 0.42], ("residual", 8): [0.7, 0.71, 0.7],
        ("residual", 20): [0.75, 0.74, 0.75],
    }  # fmt: skip
    planted(tmp_path / "s", accuracy, diverged={("plain", 20): {1}})
    noise = (
        "no plain network with a block has learnt yet, so their curve is noise: none is above 23.5 % on its "
        "training images, and a guess is at 10 %"
    )
    lines = summarize_sweep(load_sweep(tmp_path / "s"), width=200)
    assert [line for line in lines if "peak" in line or "noise" in line] == [
        noise, "peak of the residual curve: above 8; best trained: 20 (95 %, 3 seeds)",
    ]  # fmt: skip
    done = resdeg("report", tmp_path / "s")
    assert noise in done.stdout.splitlines()
    for form in ("report.md", "report.html"):
        text = (tmp_path / "s" / form).read_text()
        assert f"N{noise[1:]}." in text
        assert "Peak of the plain" not in text
        assert "best clean training accuracy" not in text, "the best of noise"
        assert "the best with a block" not in text
    assert set(json.loads(resdeg("report", tmp_path / "s", "--json").stdout)["peaks"]) == {"residual"}
    drawn = json.loads(resdeg("plot", tmp_path / "s", "--json").stdout)
    assert drawn["peak"] == noise.partition(":")[0], "short enough for the title of a figure"


def test_one_network_that_has_learnt_is_no_noise(tmp_path: Path) -> None:
    accuracy = {("plain", 8): [0.11, 0.1, 0.3], ("plain", 20): [0.1, 0.09, 0.1]}
    (line,) = (
        line for line in summarize_sweep(load(tmp_path / "s", accuracy), width=200) if "plain c" in line
    )
    assert line.startswith("peak of the plain curve")


def test_the_table_has_the_numbers_of_the_curve(tmp_path: Path) -> None:
    sweep = load(tmp_path / "s", CELLS)
    lines = summarize_sweep(sweep, width=80)
    (row,) = (line for line in lines if re.match(r" *20 ", line))
    for family in ("plain", "residual"):
        point = read_points(sweep.curve, family, metric="test_accuracy")[20]
        assert f"{100 * point.mean:.1f} % ({100 * point.low:.1f} to {100 * point.high:.1f})" in row
    assert row.endswith("3")
    (narrow,) = (line for line in summarize_sweep(sweep, width=40) if re.match(r" *20 ", line))
    assert narrow.split() == ["20", "62.0", "±5.0", "81.0", "±2.5", "3"]


def test_seeds_that_differ_and_points_that_are_missing_are_seen(tmp_path: Path) -> None:
    diverged = {("plain", 20): {0, 1, 2}, ("residual", 8): {1}}
    lines = summarize_sweep(load(tmp_path / "s", CELLS, diverged=diverged), width=80)
    rows = {line.split()[0]: line.split() for line in lines[:6] if re.match(r" *(8|20) ", line)}
    assert rows["20"][1] == "-"
    assert rows["20"][-1] == "-/3"
    assert rows["8"][-1] == "3/2"
    assert "8 of 12 points finished; 4 diverged" in lines


@pytest.mark.parametrize("width", WIDTHS)
def test_families_are_told_apart_without_colour(tmp_path: Path, width: int) -> None:
    rows = plane(summarize_sweep(load(tmp_path / "s", CELLS), width=width))
    column = {mark: [row.find(mark) for row in rows] for mark in "ox*"}
    high, low = (next(n for n, at in enumerate(column[mark]) if at >= 0) for mark in "xo")
    assert high < low, "residual-20 is above plain-20"
    assert max(column["x"]) == max(column["o"]), "at the same depth"
    assert max(column["*"]) < 5, "and at depth 8 they are one point"
    drawn = [len(BRAILLE.findall(row)) for row in rows]
    below = sum(drawn[low - 2 :])
    assert below > sum(drawn[: high + 2]) > 0, "the line of plain networks is solid, the other is dashed"


def test_colours_are_added_only_where_they_are_wanted(tmp_path: Path) -> None:
    sweep = load(tmp_path / "s", CELLS)
    plain = summarize_sweep(sweep, width=80)
    coloured = summarize_sweep(sweep, width=80, colour=True)
    assert "\x1b[33mo\x1b[0m" in "\n".join(coloured)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == plain


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    sweep = load(tmp_path / "s", CELLS)
    for width in WIDTHS:
        text = "\n".join(summarize_sweep(sweep, width=width, unicode=False))
        assert text.isascii()
        assert "|" in text
        assert ".." in text


def test_one_family_one_depth_and_no_end_yet(tmp_path: Path) -> None:
    alone = load(tmp_path / "one", {("plain", 8): [0.7]})
    lines = summarize_sweep(alone, width=40)
    assert "one seed: no interval" in lines
    assert sum(row.count("o") for row in plane(lines)) == 1
    assert "residual" not in "\n".join(lines).partition("C1 ")[0]
    store = planted(tmp_path / "none", {("plain", 8): [0.7]})
    (store.run(store.run_ids()[0]).folder / "summary.json").unlink()
    assert summarize_sweep(load_sweep(tmp_path / "none"), width=80) == ["none: no run has finished yet"]


def test_every_depth_of_the_paper_has_its_place(tmp_path: Path) -> None:
    depths = (2, 8, 14, 20, 26, 32, 38, 44, 50, 56, 110)
    cells = {(family, depth): [0.5] for family in ("plain", "residual") for depth in depths}
    curves = {
        family: read_points(load(tmp_path / family, cells).curve, family, metric="test_accuracy")
        for family in ("plain", "residual")
    }
    for width in WIDTHS:
        lines = draw_curves(curves, width=width, colour=False, unicode=True)
        labels = next(line for line in lines if line.startswith("  depth")).split()[1:]
        assert labels[0] == "2"
        assert labels[-1] == "110"
        assert [*map(int, labels)] == sorted(map(int, labels))
        assert sum(row.count("*") for row in plane(lines)) >= (len(depths) if width > 40 else 8)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.1, 0.1), (0, 0), (1, 1), (0.999, 1), (0.3, 0.35), (0.38, 0.75)]
)
def test_ticks_enclose_the_points(low: float, high: float) -> None:
    ticks = choose_ticks(low, high)
    assert 3 <= len(ticks) <= 6
    assert ticks[0] <= low + 1e-9
    assert high - 1e-9 <= ticks[-1] <= 1.0
    assert ticks[0] >= 0
    assert max(b - a for a, b in pairwise(ticks)) < max(0.011, high - low)
