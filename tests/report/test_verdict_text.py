"""Sentences of verdicts: each says what the numbers of a planted sweep say, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import MOST_SEEDS, Finding, Verdict, judge_claims
from resdeg.analysis.rules import registered_rules
from resdeg.report.verdict_text import (
    count_seeds,
    describe_deciding_seeds,
    describe_finding,
    describe_numbers,
    describe_outcome,
    describe_peaks,
)
from resdeg.store import SweepStore
from tests.planted import PLANTS, branches, causes, planted

WOBBLE = (0.0, 0.004, -0.004, 0.002, -0.002, 0.003, -0.003)
PLAIN = {8: 0.78, 14: 0.82, 20: 0.83, 56: 0.56}
RESIDUAL = {8: 0.78, 14: 0.82, 20: 0.85, 56: 0.87}


def cells(
    family: str, means: dict[int, float], seeds: int = 7, *, scale: float = 1.0
) -> dict[tuple[str, int], list[float]]:
    """Seeds about each mean, in another order at each depth."""
    return {
        (family, depth): [mean + scale * WOBBLE[(seed + 3 * turn) % 7] for seed in range(seeds)]
        for turn, (depth, mean) in enumerate(means.items())
    }


def registration(depth: int) -> dict[str, object]:
    rules = registered_rules()
    return {
        "version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 7, "depth": depth,
    }  # fmt: skip


def judge(store: SweepStore, claim: str) -> Finding:
    findings = judge_claims(Evidence(load_sweep(store.folder)))
    return next(finding for finding in findings if finding.claim.id == claim)


def refuted(store: SweepStore, claim: str) -> str:
    finding = judge(store, claim)
    assert finding.verdict is Verdict.REFUTED
    return describe_outcome(finding)


def supported(store: SweepStore, claim: str) -> str:
    finding = judge(store, claim)
    assert finding.verdict is Verdict.SUPPORTED
    return describe_outcome(finding)


def test_the_peak_says_that_runs_that_diverged_count(tmp_path: Path) -> None:
    """Depth 20 is the best in the mean of the runs that finished, and not where one of seven is a guess."""
    plain = cells("plain", {8: 0.78, 20: 0.83, 56: 0.56})
    store = planted(tmp_path / "s", plain, diverged={("plain", 20): {1}})
    (line,) = describe_peaks(Evidence(load_sweep(store.folder)))
    assert line.endswith("; best trained: 8 (95 %, 7 seeds, 1 run that diverged as a guess)")
    whole = planted(tmp_path / "whole", plain)
    (line,) = describe_peaks(Evidence(load_sweep(whole.folder)))
    assert line.endswith("; best trained: 20 (95 %, 7 seeds)")


# ---------------------------------------------------------------- SUPPORTED and REFUTED


def test_a_rise_below_its_margin_is_not_said_to_be_none(tmp_path: Path) -> None:
    """The accuracy rises by .3 points in every seed, and falls by 22."""
    plain = cells("plain", {8: 0.78, 14: 0.7815, 20: 0.783, 56: 0.56}, scale=0.1)
    sentence = "Plain networks do not both gain more than 1.0 and then lose more than {} points"
    short = planted(tmp_path / "short", plain)
    assert refuted(short, "C1").startswith(sentence.format("2.0"))
    full = planted(tmp_path / "full", plain, training={"recipe": "he2015"})
    assert refuted(full, "C1").startswith(sentence.format("1.0")), "the margin is that of the schedule"


def test_most_of_a_fall_is_not_all_of_it(tmp_path: Path) -> None:
    """The training accuracy falls by .55 of the fall in test."""
    trained = cells("plain", {8: 0.8, 14: 0.84, 20: 0.85, 56: 0.85 - 0.27 * 0.55})
    store = planted(tmp_path / "s", cells("plain", PLAIN), trained=trained)
    assert supported(store, "C2") == (
        "More than half of the fall of plain networks is there in training, so most of it is not overfitting."
    )


def test_recomputed_statistics_can_refute_overfitting_by_themselves(tmp_path: Path) -> None:
    """Clean training accuracy falls by 27 points; with recomputed statistics it falls by 4."""
    store = planted(tmp_path / "s", cells("plain", PLAIN))
    for run_id in store.run_ids():
        run = store.run(run_id)
        summary = run.summary()
        accuracy = summary.train_accuracy if summary.depth < 56 else 0.80 + 0.001 * summary.seed
        update = {"recomputed_train_accuracy": accuracy, "recomputed_train_loss": 0.5}
        (run.folder / "summary.json").write_text(summary.model_copy(update=update).to_json())
    finding = judge(store, "C2")
    assert [part.effect is not None and part.effect > part.margin for part in finding.parts] == [
        True, True, False,
    ]  # fmt: skip
    assert refuted(store, "C2").endswith(
        "less than half of that is there in training, by running statistics, recomputed ones or both."
    )


def test_a_collapse_is_named_where_no_test_refutes(tmp_path: Path) -> None:
    """Residual-56 diverged in four of seven seeds: the interval reaches from -86 to +20."""
    accuracy = cells("residual", RESIDUAL)
    store = planted(tmp_path / "s", accuracy, diverged={("residual", 56): {3, 4, 5, 6}})
    assert refuted(store, "C3") == (
        "In at least half of the seeds the deepest residual network did not train, which refutes it."
    )
    falls = planted(tmp_path / "falls", cells("residual", {**RESIDUAL, 56: 0.7}))
    assert refuted(falls, "C3") == (
        "The deepest residual network is more than 2.0 points worse than some shallower one."
    )
    holds = planted(tmp_path / "holds", accuracy)
    assert supported(holds, "C3").startswith(
        "The deepest residual network is at most 2.0 points worse than any"
    )


def test_a_residual_curve_that_is_flat_and_low_leaves_nothing_of_the_fall(tmp_path: Path) -> None:
    """Residual networks are at 50 % at every depth, plain ones fall by 27 points: only the gap fails."""
    store = planted(tmp_path / "s", cells("plain", PLAIN) | cells("residual", dict.fromkeys(PLAIN, 0.5)))
    assert refuted(store, "C4") == (
        "Shortcuts do not both leave less than half of the fall and regain more than half of it in the "
        "deepest network."
    )


def test_a_larger_decrease_below_its_margin_is_not_said_to_be_none(tmp_path: Path) -> None:
    """Branches shrink by .2 halvings more with ReLU than without it, in every seed."""
    arms = {"linear": {"families": "residual", "model": {"inner_activation": "none"}}}
    accuracy = cells("residual", {8: 0.7, 20: 0.8}, seeds=5)
    store = planted(tmp_path / "s", accuracy, arms=arms, of_arms={"linear": {"accuracy": accuracy}})
    branches(
        store,
        {
            (arm, "residual", 20, state): [
                2 ** ((state != "initial") * (0.01 * WOBBLE[seed + turn] - decrease)) for seed in range(5)
            ]
            for turn, (arm, decrease) in enumerate({"": 1.4, "linear": 1.2}.items())
            for state in ("initial", 100, 200, 300, "final")
        },
    )
    finding = judge(store, "C8")
    assert finding.parts[0].effect == pytest.approx(0.2, abs=0.001)
    assert refuted(store, "C8").startswith("On the way, branches shrink by less than 0.25 halvings more")
    assert "shrinks by more than 1.00 halvings" in supported(store, "C7")


def test_orthogonal_starts_that_are_half_as_good_are_not_said_to_be_as_good(tmp_path: Path) -> None:
    """Identity starts take away 25 of 27 points of the fall, orthogonal ones 14.5."""
    arms = {
        "identity": {"families": "plain", "model": {"init": "dirac-mixed", "dirac": 1.0}},
        "orthogonal": {"families": "plain", "model": {"init": "orthogonal"}},
    }
    deepest = {"identity": 0.81, "orthogonal": 0.705}
    of_arms = {arm: {"accuracy": cells("plain", {**PLAIN, 56: deep})} for arm, deep in deepest.items()}
    store = planted(tmp_path / "s", cells("plain", PLAIN), arms=arms, of_arms=of_arms)
    assert refuted(store, "C10") == (
        "Identity starts do not do all of this: leave less than half of the fall, regain more than half of "
        "it in the deepest network, and take away more than twice as much as orthogonal ones."
    )


@pytest.mark.parametrize(
    ("claim", "verdict", "words"),
    [
        ("C5", Verdict.SUPPORTED, "reaches a lower training loss"),
        ("C5", Verdict.REFUTED, "is less than 0.010 nats worse in training than every constructed one"),
        ("C6", Verdict.SUPPORTED, "a probe behind an earlier block does better"),
        ("C6", Verdict.REFUTED, "is less than 1.0 points worse than behind every earlier one of its stage"),
        ("C7", Verdict.REFUTED, "does not shrink by 1.00 halvings"),
        ("C8", Verdict.SUPPORTED, "shrink by over 0.25 halvings more with ReLU than with every other"),
    ],
)
def test_sentences_of_causes_have_the_margin_of_the_claim(
    claim: str, verdict: Verdict, words: str, tmp_path: Path
) -> None:
    finding = judge(causes(tmp_path / "s", verdict), claim)
    assert finding.verdict is verdict
    assert words in describe_outcome(finding)


def test_one_claim_that_fails_is_not_three(tmp_path: Path) -> None:
    """Networks of StarGAN's unit follow C1 and C4; the residual ones lose 4 points, and C3 fails."""
    accuracy = cells("plain", PLAIN) | cells("residual", {8: 0.78, 14: 0.82, 20: 0.85, 56: 0.81})
    store = planted(tmp_path / "s", accuracy, model={"block": "stargan"})
    verdicts = [judge(store, claim).verdict for claim in ("C1", "C3", "C4")]
    assert verdicts == [Verdict.SUPPORTED, Verdict.REFUTED, Verdict.SUPPORTED]
    assert refuted(store, "C9") == "Networks of StarGAN's unit do not follow all of C1, C3 and C4."


# ---------------------------------------------------------------- UNDECIDED


def test_there_is_no_fall_at_the_depth_that_is_named(tmp_path: Path) -> None:
    """Plain-20 was named and falls by 1.5 points; plain-14 falls by 8."""
    plain = cells("plain", {8: 0.78, 14: 0.83, 20: 0.765, 56: 0.75})
    store = planted(tmp_path / "s", plain, claims={"depth": 20}, registration=registration(20))
    finding = judge(store, "C2")
    assert describe_outcome(finding) == (
        "It is degradation, not overfitting: at depth 20 the mean fall is 1.5 points, not above 2.0, so "
        "there is no fall to explain there."
    )
    assert describe_deciding_seeds(finding) == "", "no number of seeds refutes it"


def test_seeds_are_counted_only_where_they_can_decide(tmp_path: Path) -> None:
    """Depth 20 is no better than depth 8, and a plain-56 diverged: C1 is never REFUTED."""
    plain = cells("plain", {8: 0.78, 14: 0.78, 20: 0.78, 56: 0.56}, scale=3)
    lost = planted(tmp_path / "s", plain, diverged={("plain", 56): {3}})
    assert judge(lost, "C1").verdict is Verdict.UNDECIDED
    assert describe_deciding_seeds(judge(lost, "C1")) == ""
    undecided = judge(planted(tmp_path / "u", **PLANTS[Verdict.UNDECIDED]), "C1")
    twelve, many = (replace(undecided, deciding=count) for count in (12, MOST_SEEDS + 1))
    assert "12 seeds, 9 more, will probably decide it" in describe_deciding_seeds(twelve)
    assert "not even 200 seeds will decide it" in describe_deciding_seeds(many)


# ---------------------------------------------------------------- numbers


def test_seeds_that_were_left_out_are_not_counted(tmp_path: Path) -> None:
    """Plain-56 diverged in three of seven seeds, so the fall is that of four."""
    accuracy = cells("plain", PLAIN) | cells("residual", RESIDUAL)
    store = planted(tmp_path / "s", accuracy, diverged={("plain", 56): {1, 3, 5}})
    first, third = judge(store, "C1"), judge(store, "C3")
    assert (first.seeds, first.few_seeds, third.few_seeds) == (7, True, False)
    assert (count_seeds(first), count_seeds(third)) == ("7 seeds, 4 in some part, few seeds", "7 seeds")
    assert "7 seeds, 4 in some part, few seeds)." in describe_finding(first, load_sweep(store.folder))
    assert "rise +5.0 (margin +1.0); fall +27.3 (margin +2.0, 4 seeds);" in describe_numbers(first)


def test_an_interval_of_one_end_is_a_sentence(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", cells("plain", PLAIN), diverged={("plain", 56): {1, 3}})
    finding = judge(store, "C1")
    assert finding.high is None
    assert finding.low is not None
    assert f"Beyond the margins by at least +{100 * finding.low:.1f} (" in describe_numbers(finding)
    above = replace(finding, low=None, high=0.0123)
    assert "Beyond the margins by at most +1.2 (" in describe_numbers(above)
