"""Verdicts: all outcomes for each claim, and how often they are wrong where the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resdeg.analysis.cells import Cells
from resdeg.analysis.claims import ALLOWED_FALL, AS_GOOD, CLAIMS
from resdeg.analysis.effects import LEVEL, mean_of
from resdeg.analysis.findings import findings, peaks
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.trained import NEAR_CHANCE
from resdeg.analysis.units import POINTS
from resdeg.analysis.verdict import RULE, Verdict, holm, seeds_to_decide, verdict
from tests.planted import PLANTS, planted
from tests.simulated import DEPTHS, FALLS, NOISE, counted

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ([0.10, 0.11, 0.12], Verdict.SUPPORTED),
        ([-0.10, -0.11, -0.12], Verdict.REFUTED),
        ([0.10, -0.11, 0.02], Verdict.UNDECIDED),
        ([0.10], Verdict.UNDECIDED),
    ],
)
def test_the_rule(values: list[float], reached: Verdict) -> None:
    assert verdict(mean_of(values), 0.0, LEVEL) is reached


def test_the_margin_is_what_counts() -> None:
    effect = mean_of([0.10, 0.11, 0.12])
    assert verdict(effect, 0.05, LEVEL) is Verdict.SUPPORTED
    assert verdict(effect, 0.11, LEVEL) is Verdict.UNDECIDED
    assert verdict(effect, 0.50, LEVEL) is Verdict.REFUTED


def test_holm_against_the_textbook() -> None:
    shares = holm({"a": 0.001, "b": 0.04, "c": 0.013, "d": 0.6})
    assert shares == pytest.approx({"a": 0.0125, "c": 0.05 / 3, "b": 0.025, "d": 0.025})
    assert {name for name, p in {"a": 0.001, "b": 0.04, "c": 0.013}.items() if p < shares[name]} == {"a", "c"}


def test_the_seeds_that_would_decide_decide_as_often_as_promised() -> None:
    n = seeds_to_decide(mean_of([0.03, 0.01, 0.02, 0.026]), 0.0, LEVEL, POINTS.scatter)
    assert n is not None
    sample = np.array([0.03, 0.01, 0.02, 0.026])
    drawn = np.random.default_rng(0).normal(sample.mean(), sample.std(ddof=1), (4000, n))
    decided = np.mean([verdict(mean_of(list(row)), 0.0, LEVEL) is Verdict.SUPPORTED for row in drawn])
    assert 0.78 < decided < 0.97
    fewer = [verdict(mean_of(list(row[: n - 1])), 0.0, LEVEL) is Verdict.SUPPORTED for row in drawn]
    assert np.mean(fewer) < 0.82
    assert seeds_to_decide(mean_of([0.001, -0.001, 0.0001]), 0.0, LEVEL, POINTS.scatter) is None


# ---------------------------------------------------------------- all outcomes, through the command line


@pytest.mark.parametrize("outcome", Verdict)
def test_planted_records_give_every_outcome(outcome: Verdict, resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", **PLANTS[outcome])
    done = resdeg("report", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    said = dict(line.split()[:2] for line in done.stdout.splitlines() if line.startswith("C"))
    assert {said[name] for name in ("C1", "C2", "C3", "C4")} == {outcome}
    assert {said[f"C{n}"] for n in range(5, 10)} == {"UNDECIDED"}
    for form in ("report.md", "report.html"):
        text = (tmp_path / "s" / form).read_text()
        assert text.count(str(outcome)) >= 4
        for claim in CLAIMS.values():
            assert claim.rule.split("{")[0].split('"')[0][:60] in text, "the rule that decides is printed"


@pytest.mark.parametrize("outcome", Verdict)
def test_networks_of_stargan_s_unit_are_asked_too(outcome: Verdict, tmp_path: Path) -> None:
    planted(tmp_path / "s", PLANTS[outcome]["accuracy"], model={"block": "stargan"})
    found = {finding.claim.id: finding for finding in findings(load_sweep(tmp_path / "s"))}
    assert found["C9"].verdict is outcome
    beyond = [found[name].effect - found[name].margin for name in ("C1", "C3", "C4")]
    assert found["C9"].effect == pytest.approx(min(beyond))


def test_one_seed_decides_nothing_and_says_how_many_would(tmp_path: Path) -> None:
    of_three = PLANTS[Verdict.SUPPORTED]
    one = {name: {cell: values[:1] for cell, values in table.items()} for name, table in of_three.items()}
    planted(tmp_path / "s", **one)
    found = findings(load_sweep(tmp_path / "s"))[:4]
    assert {finding.verdict for finding in found} == {Verdict.UNDECIDED}
    assert all(finding.low is None and finding.deciding for finding in found)


def test_a_claim_that_cannot_be_asked_says_what_it_needs(tmp_path: Path) -> None:
    planted(tmp_path / "s", {("plain", 8): [0.7] * 3, ("plain", 20): [0.6] * 3})
    by_id = {finding.claim.id: finding for finding in findings(load_sweep(tmp_path / "s"))}
    assert by_id["C1"].needs == "three depths of plain networks that trained; there is 8, 20"
    assert by_id["C3"].needs == "two depths of residual networks that trained; there is none"
    assert by_id["C2"].verdict is Verdict.SUPPORTED
    assert peaks(load_sweep(tmp_path / "s")) == {"plain": [8]}


def test_an_untrainable_network_is_left_out_and_named(tmp_path: Path, resdeg) -> None:
    plant = PLANTS[Verdict.SUPPORTED]
    accuracy = {**plant["accuracy"], ("plain", 110): [0.11, 0.1, 0.12], ("residual", 110): [0.9, 0.9, 0.9]}
    planted(tmp_path / "s", accuracy)
    found = {finding.claim.id: finding for finding in findings(load_sweep(tmp_path / "s"))}
    assert found["C1"].effect is not None
    assert found["C1"].effect < 0.5, "the fall is that of the deepest network that trained"
    resdeg("report", tmp_path / "s")
    assert "plain-110 is untrainable" in (tmp_path / "s" / "report.md").read_text()


def test_the_margin_of_c3_follows_the_schedule(tmp_path: Path) -> None:
    planted(tmp_path / "s", PLANTS[Verdict.SUPPORTED]["accuracy"])
    sweep = load_sweep(tmp_path / "s")
    assert CLAIMS["C3"].margin(Cells.of(sweep)) == -ALLOWED_FALL["short"]
    sweep.runs["steps"] = 64_000
    assert CLAIMS["C3"].margin(Cells.of(sweep)) == -ALLOWED_FALL["full"]


# ---------------------------------------------------------------- how often a verdict is wrong


# The other claims are far from their margins, so that Holm leaves the one on its boundary the most error.
STAYS, RISES = (0.6, 0.9, 0.9, 0.9), (0.6, 0.7, 0.9, 0.95)
BOUNDARY = {
    "C1": {"plain": STAYS, "training": FALLS, "residual": (0.6, 0.9, 0.95, 0.99)},
    "C2": {"plain": FALLS, "training": STAYS, "residual": RISES},
    "C3": {"plain": FALLS, "training": FALLS, "residual": (0.6, 0.9, 0.9, 0.88)},
    "C4": {"plain": FALLS, "training": FALLS, "residual": tuple(a + 0.05 for a in FALLS)},
}
FOUR = 4 * NOISE
DOUBLINGS = np.log2(DEPTHS)
GROWTH = FOUR * (DOUBLINGS - DOUBLINGS[0]) / (DOUBLINGS[-1] - DOUBLINGS[0])  # of the gap, over all depths


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("name", BOUNDARY)
def test_on_its_boundary_a_claim_is_rarely_supported(name: str, seeds: int) -> None:
    """At most 64 in 1,000."""
    found = counted(BOUNDARY[name], seeds)
    assert found[name]["SUPPORTED"] <= 64, found[name]
    assert found[name]["needs"] == 0


@pytest.mark.slow
def test_four_times_the_noise_and_five_seeds_are_enough() -> None:
    """At least 800 in 1,000 for each claim, all at once."""
    found = counted(
        {
            "plain": (0.5, 0.9, 0.9, 0.9 - FOUR),
            "training": (0.5, 0.9, 0.9, 0.9 - FOUR),
            "residual": (0.5, 0.9, 0.9, 0.9 - ALLOWED_FALL["short"] + FOUR),
        },
        5,
    )
    for name in ("C1", "C2", "C3"):
        assert found[name]["SUPPORTED"] >= 800, (name, found[name])
    found = counted({"plain": FALLS, "training": FALLS, "residual": tuple(np.array(FALLS) + GROWTH)}, 5)
    assert found["C4"]["SUPPORTED"] >= 800, found["C4"]


def test_the_method_page_has_the_rules_that_decide() -> None:
    page = " ".join((ROOT / "docs" / "method.md").read_text().split())
    assert RULE in page
    for name, claim in CLAIMS.items():
        told = f"**{name}, {claim.title}.** {claim.rule.split(' Margin:')[0]}"
        assert told.lower() in page.lower(), name
    for allowed in ALLOWED_FALL.values():
        assert f"minus {100 * allowed:.1f} point" in page
    assert f"Margin: {AS_GOOD:.3f} nats" in page
    assert f"chance + {NEAR_CHANCE} (1 - chance)" in page
    assert f"scatter by {100 * POINTS.scatter:.0f} points" in page
