"""Effects, intervals and the peak, compared with numbers worked out elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from resdeg.analysis.effects import Both, Joint, Part, Sample, Witness, locate_peak, simes

numbers = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=6)


def sample(*values: float, binomial: float = 0.0) -> Sample:
    return Sample(dict(enumerate(values)), binomial)


def part(values: list[float], margin: float = 0.0, name: str = "it") -> Part:
    return Part(name, sample(*values), margin, frozenset(range(len(values))))


def joint(*values: list[float]) -> Joint:
    return Joint(tuple(part(each, name=str(number)) for number, each in enumerate(values)))


def test_a_sample_is_student_s_t() -> None:
    values = [0.1, 0.3, 0.2, 0.25]
    above = scipy.stats.ttest_1samp(values, 0.05, alternative="greater")
    assert sample(*values).p_above(0.05) == pytest.approx(above.pvalue)
    assert sample(*values).p_below(0.05) == pytest.approx(1 - above.pvalue)
    low, high = scipy.stats.ttest_1samp(values, 0.05).confidence_interval(0.9)
    assert (sample(*values).lower(0.05), sample(*values).upper(0.05)) == pytest.approx((low, high))


def test_a_contrast_of_accuracies_must_pass_a_normal_test_too() -> None:
    """Equal numbers of three seeds have no spread; 30,000 images have an error."""
    certain, binomial = sample(0.01, 0.01, 0.01), sample(0.01, 0.01, 0.01, binomial=0.005)
    assert certain.p_above(0.0) == certain.p_below(0.0) == 1.0
    assert binomial.p_above(0.0) == pytest.approx(scipy.stats.norm.sf(2))
    assert binomial.lower(0.025) == pytest.approx(0.01 - 1.959964 * 0.005)
    noisy = sample(0.1, -0.1, 0.03, binomial=0.001)
    assert noisy.p_above(0.0) == pytest.approx(sample(0.1, -0.1, 0.03).p_above(0.0)), "the larger p counts"


def test_a_spread_of_rounding_is_no_spread() -> None:
    """Probes that are 201 of 10,000 images apart in each of three seeds: the differences differ by 1e-16."""
    gaps = [(hits + 201) / 10_000 - hits / 10_000 for hits in (3000, 3002, 3006)]
    assert len({*gaps}) == 2
    equal = sample(*gaps)
    assert equal.deviation == 0.0
    assert (equal.p_above(0.01), equal.lower(0.025)) == (1.0, -math.inf), "equal numbers decide nothing"
    assert sample(*(1e6 + gap for gap in (0.0, 1e-9, 2e-9))).deviation == 0.0, "relative to large numbers"
    assert sample(0.0201, 0.0201, 0.0202).deviation == pytest.approx(1e-4 / 3**0.5), "one image is a spread"


@given(numbers, st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0, 0.2))
def test_a_bound_leaves_out_what_p_refuses(
    values: list[float], margin: float, error: float, binomial: float
) -> None:
    each = sample(*values, binomial=binomial)
    for p, beyond in (
        (each.p_above(margin), each.lower(error) - margin),
        (each.p_below(margin), margin - each.upper(error)),
    ):
        if math.isfinite(beyond) and abs(beyond) > 1e-9:
            assert (p < error) == (beyond > 0)


@given(st.lists(numbers, min_size=1, max_size=4), st.floats(0.001, 0.3))
def test_the_bound_of_a_claim_leaves_out_what_its_p_refuses(rows: list[list[float]], error: float) -> None:
    """Simes' p is below the error exactly where the lower bound is above the margins."""
    effect = Witness({depth: joint(row) for depth, row in enumerate(rows)}, "depth", best=0)
    low, high = effect.lower(error), effect.upper(error)
    if abs(low) > 1e-9:
        assert (effect.p_above() < error) == (low > 0)
    if abs(high) > 1e-9:
        assert (effect.p_below() < error) == (high < 0)


def test_simes_against_the_textbook() -> None:
    assert simes([0.01, 0.02, 0.9]) == pytest.approx(0.03)
    assert simes([0.2]) == 0.2
    assert simes([0.9, 0.8]) == pytest.approx(0.9)


def test_all_parts_must_hold_and_one_that_fails_has_its_share() -> None:
    high, low = [0.5, 0.6, 0.55], [-0.2, -0.21, -0.19]
    both = joint(high, low)
    assert both.p_above() == pytest.approx(sample(*low).p_above(0.0))
    assert both.p_below() == pytest.approx(2 * sample(*low).p_below(0.0))
    assert both.lower(0.05) == pytest.approx(sample(*low).lower(0.05))
    assert both.upper(0.05) == pytest.approx(sample(*low).upper(0.025))


def test_one_candidate_is_enough_for_a_claim_and_none_may_be_left_against_it() -> None:
    up, down = [0.30, 0.31, 0.29], [-0.30, -0.31, -0.29]
    effect = Witness({8: joint(down), 20: joint(up)}, "depth", best=20)
    assert effect.p_above() == pytest.approx(2 * sample(*up).p_above(0.0))
    assert effect.p_below() == pytest.approx(sample(*up).p_below(0.0))
    named = Witness({8: joint(down), 20: joint(up)}, "depth", best=20, named=20)
    assert named.p_above() == pytest.approx(sample(*up).p_above(0.0))
    assert Witness({8: joint(down), 20: joint(up)}, "depth", best=8, named=8).p_above() > 0.99
    against = Witness({8: joint(down), 20: joint(down)}, "depth", best=8, named=8)
    assert against.p_below() == pytest.approx(sample(*down).p_below(0.0))
    assert Witness({8: joint(down)}, "depth", best=8, refutable=False).p_below() == 1.0


def test_without_a_fall_there_is_nothing_to_refute() -> None:
    """Another part fails, and the fall does not: UNDECIDED, never REFUTED."""
    fall, fails = [0.30, 0.31, 0.29], [-0.30, -0.31, -0.29]
    flat = [0.0, 0.01, -0.01]
    for values, refuted in ((fall, True), (flat, False)):
        guarded = Joint((part(values, 0.02, "fall"), part(fails, name="other")))
        effect = Witness({8: guarded}, "depth", best=8, guard="fall")
        assert (effect.p_below() < 0.025) is refuted


def test_both_claims_must_hold() -> None:
    up, down = joint([0.30, 0.31, 0.29]), joint([-0.30, -0.31, -0.29])
    assert Both((up, up)).p_above() == up.p_above()
    assert Both((up, down)).p_below() == pytest.approx(2 * down.p_below())
    assert Both((up, down)).upper(0.05) == pytest.approx(down.upper(0.025))


# ---------------------------------------------------------------- the peak

TABLE = {8: [0.70, 0.72, 0.71], 20: [0.80, 0.79, 0.81], 56: [0.60, 0.64, 0.62]}


def curve(table: dict[int, list[float]]) -> dict[int, dict[int, float]]:
    return {depth: dict(enumerate(values)) for depth, values in table.items()}


def test_the_peak_reaches_to_the_next_trained_depths() -> None:
    peak = locate_peak(curve(TABLE), [2, 8, 20, 56])
    assert (peak.best, peak.possible, peak.low, peak.high) == (20, (20,), 8, 56)
    assert peak.confidence == 0.95
    shallow = locate_peak(curve({depth: TABLE[depth] for depth in (8, 56)}), [2, 8, 56])
    assert (shallow.best, shallow.low, shallow.high) == (8, 2, 56)
    rising = locate_peak(curve({8: TABLE[56], 20: TABLE[20]}), [8, 20])
    assert (rising.best, rising.low, rising.high) == (20, 8, None), "it may lie deeper than was trained"


def test_one_seed_excludes_no_depth() -> None:
    peak = locate_peak(curve({depth: values[:1] for depth, values in TABLE.items()}), [8, 20, 56])
    assert (peak.possible, peak.seeds) == ((8, 20, 56), 1)
    assert locate_peak({}, [2]) is None


def test_the_peak_is_one_of_the_depths_that_none_beats() -> None:
    noise = np.array([[0.1, -0.1, 0.0], [-0.1, 0.1, 0.0], [0.0, 0.0, 0.1]])
    noisy = {depth: list(np.array(values) + noise[:, n]) for n, (depth, values) in enumerate(TABLE.items())}
    assert locate_peak(curve(noisy), [8, 20, 56]).possible == (8, 20, 56)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "deviations", [(1, 1, 1, 1), (0.3, 0.3, 0.3, 3), (0.3, 0.3, 3, 0.3)], ids=["equal", "deep", "peak"]
)
def test_the_interval_of_the_peak_holds_the_peak(seeds: int, deviations: tuple[float, ...]) -> None:
    """In 93 % at least, also where one depth scatters ten times as much: there Dunnett's pooled one fails."""
    generator = np.random.default_rng(seeds)
    means, depths = np.array([0.0, 1.0, 1.01, 0.9]), [8, 14, 20, 56]
    held = pooled = 0
    for _ in range(1000):
        drawn = means + np.array(deviations) * generator.normal(size=(seeds, 4))
        peak = locate_peak(curve({depth: list(drawn[:, n]) for n, depth in enumerate(depths)}), depths)
        held += 20 in peak.possible
        pooled += 2 in _dunnett(drawn, seeds)
    assert held >= 930
    if len(set(deviations)) > 1:
        assert pooled < 930


def _dunnett(drawn: np.ndarray, seeds: int) -> list[int]:
    """Columns that a pooled deviation does not exclude; critical values of one-sided Dunnett, 4 groups."""
    critical = {3: 2.42, 5: 2.23}[seeds]  # 3 comparisons, correlation 1/2, 8 and 16 degrees of freedom
    mean, error = drawn.mean(0), np.sqrt(2 * drawn.var(0, ddof=1).mean() / seeds)
    return [
        column for column in range(4) if (np.delete(mean, column) - mean[column]).max() / error <= critical
    ]
