"""Arms beside their grid, and learning rates: numbers from frames that were planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from resdeg.analysis.arms import choose_rates, compare_arms, compute_falls
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import RUN_COLUMNS, SweepFrame
from resdeg.analysis.stats import mean_interval
from resdeg.config import resolve

Plant = dict[tuple[str, int], list[tuple[float, float, float] | None]]  # test, clean training, validation


def frame(name: str, config, plant: Plant) -> SweepFrame:
    """Runs of these numbers, a seed each; one without numbers has diverged."""
    rows = [
        {"run_id": f"{name}-{family}-{depth}-{seed}", "family": family, "depth": depth, "seed": seed}
        | (
            {"status": "diverged"}
            if numbers is None
            else dict(zip(NUMBERS, ("finished", *numbers), strict=True))
        )
        for (family, depth), seeds in plant.items()
        for seed, numbers in enumerate(seeds)
    ]
    runs = pd.DataFrame(rows).reindex(columns=RUN_COLUMNS)
    return SweepFrame(Path("s"), config, runs, pd.DataFrame(), [], arm=name)


NUMBERS = ("status", "test_accuracy", "train_accuracy", "validation_accuracy")


def planted(grid: Plant, arms: dict[str, tuple[dict, Plant]], validation: int = 0) -> SweepFrame:
    base = {
        "depths": [8, 20, 56], "seeds": "0-1", "data": {"validation": validation},
        "arms": {name: changes for name, (changes, _) in arms.items()},
    }  # fmt: skip
    config = resolve(None, {}, [], base)
    frames = {name: frame(name, config.arm_sweeps[name], plant) for name, (_, plant) in arms.items()}
    return replace(frame("", config, grid), arms=frames)


def same(*means: float) -> list[tuple[float, float, float] | None]:
    return [(mean, mean + 0.02, 0.5) for mean in means]


GRID: Plant = {
    ("plain", 8): same(0.70, 0.72), ("plain", 20): same(0.80, 0.82), ("plain", 56): same(0.50, 0.60),
    ("residual", 8): same(0.70, 0.72), ("residual", 20): same(0.80, 0.82),
    ("residual", 56): [(0.84, 0.80, 0.5), (0.86, 0.80, 0.5)],
}  # fmt: skip
WIDE = {"families": "plain", "model": {"width": 2.0}}


def test_a_row_is_the_fall_from_its_own_best_depth() -> None:
    plain, residual = compare_arms(planted(GRID, {}))
    assert (plain.arm, plain.family, plain.depths, plain.best) == ("", "plain", (8, 20, 56), 20)
    assert plain.best_accuracy == pytest.approx(0.81)
    assert plain.deepest_accuracy == pytest.approx(0.55)
    assert plain.fall == plain.training_fall == pytest.approx(0.26)
    assert (residual.best, residual.fall) == (56, 0.0)
    assert residual.training_fall == pytest.approx(0.03), "whose best depth is 20"
    assert plain.common is residual.difference is None


def test_an_arm_is_set_beside_the_grid_seed_by_seed_at_the_deepest_depth_of_both() -> None:
    arm: Plant = {("plain", 20): same(0.83, 0.83), ("plain", 56): [(0.56, 0.6, 0.5), None]}
    *_, row = compare_arms(planted(GRID, {"wide": (WIDE, arm)}))
    assert (row.arm, row.depths, row.common) == ("wide", (20, 56), 56)
    assert row.difference.mean == pytest.approx(0.06), "of seed 0 alone, not 0.56 - 0.55"
    assert row.difference.low is None
    assert row.diverged == (56,)
    arm[("plain", 56)] = [None, None]
    *_, row = compare_arms(planted(GRID, {"wide": (WIDE, arm)}))
    assert (row.depths, row.common, row.fall) == ((20,), 20, None)
    both = mean_interval([0.03, 0.01])
    assert vars(row.difference) == pytest.approx(vars(both))


def test_what_is_not_there_is_no_number() -> None:
    arm: Plant = {("plain", 110): same(0.1, 0.1), ("plain", 104): same(0.7, 0.7)}
    *_, row = compare_arms(planted(GRID, {"deep": (WIDE, arm)}))
    assert (row.common, row.difference, row.trained) == (None, None, False)
    only = {"dead": (WIDE, {("plain", 20): [None, None]})}
    assert [row.arm for row in compare_arms(planted(GRID, only))] == ["", ""]


def rates(fast: list, slow: list, grid: list, validation: int = 100, **more: object) -> list:
    """What is chosen for plain-20 of the recipe's 0.1, 0.3 and 0.01."""
    arms = {
        "fast": ({"training": {"lr": 0.3}}, {("plain", 20): fast}),
        "slow": ({"training": {"lr": 0.01}, **more}, {("plain", 20): slow}),
    }
    return choose_rates(
        Evidence(planted({("plain", 20): grid, ("residual", 20): same(0.9, 0.9)}, arms, validation))
    )


def trained(test: float, *validation: float) -> list:
    return [(test + 0.01 * seed, 0.9, value) for seed, value in enumerate(validation)]


def test_a_rate_is_chosen_by_validation_and_not_by_test() -> None:
    (rate,) = rates(fast=trained(0.95, 0.6, 0.6), slow=trained(0.5, 0.75, 0.7), grid=trained(0.7, 0.7, 0.7))
    assert (rate.family, rate.depth, rate.tried, rate.chosen) == ("plain", 20, (0.1, 0.3, 0.01), 0.01)
    assert rate.validation.mean == pytest.approx(0.725)
    assert vars(rate.recipe) == pytest.approx(vars(mean_interval([0.7, 0.71])))
    assert vars(rate.test) == pytest.approx(vars(mean_interval([0.5, 0.51])))


def test_the_fall_with_chosen_rates_is_between_depths_that_validation_names() -> None:
    """Test accuracy is the best at depth 8, validation at 20."""
    slow: Plant = {
        ("plain", 8): trained(0.9, 0.5, 0.5),
        ("plain", 20): trained(0.8, 0.7, 0.7),
        ("plain", 56): trained(0.7, 0.6, 0.6),
    }
    grid: Plant = {cell: trained(0.9 if cell[1] < 56 else 0.2, 0.55, 0.55) for cell in slow}
    arms = {"slow": ({"families": "plain", "training": {"lr": 0.01}}, slow)}
    chosen = choose_rates(Evidence(planted(grid, arms, 100)))
    assert [rate.chosen for rate in chosen] == [0.1, 0.01, 0.01]
    (fall,) = compute_falls(chosen)
    assert (fall.family, fall.best, fall.deepest) == ("plain", 20, 56)
    assert (fall.chosen, fall.recipe) == pytest.approx((0.1, 0.7))
    assert compute_falls(chosen[:1]) == []


def chosen_falls(grid: Plant, slow: Plant) -> list:
    arms = {"slow": ({"families": "plain", "training": {"lr": 0.01}}, slow)}
    return compute_falls(choose_rates(Evidence(planted(grid, arms, 100))))


def test_a_fall_at_the_recipe_s_rate_is_over_the_same_seeds_or_not_said() -> None:
    """The recipe's rate lost a seed of depth 56, whose other seed would flatter it."""
    slow: Plant = {("plain", 20): trained(0.8, 0.7, 0.7), ("plain", 56): trained(0.7, 0.6, 0.6)}
    grid: Plant = {cell: trained(0.75, 0.5, 0.5) for cell in slow}
    (whole,) = chosen_falls(grid, slow)
    assert (whole.chosen, whole.recipe) == pytest.approx((0.1, 0))
    (fall,) = chosen_falls({**grid, ("plain", 56): [None, *trained(0.75, 0.5)]}, slow)
    assert (fall.chosen, fall.recipe) == (pytest.approx(0.1), None)


def test_where_the_deepest_is_the_best_there_is_no_fall_with_chosen_rates() -> None:
    slow: Plant = {("plain", 20): trained(0.7, 0.6, 0.6), ("plain", 56): trained(0.8, 0.7, 0.7)}
    assert chosen_falls({cell: trained(0.7, 0.5, 0.5) for cell in slow}, slow) == []


def test_without_images_held_out_none_is_chosen() -> None:
    assert rates(trained(0.9, 0.6, 0.6), trained(0.5, 0.7, 0.7), trained(0.7, 0.7, 0.7), validation=0) == []


def test_an_arm_that_changes_more_is_no_rate() -> None:
    (rate,) = rates(
        trained(0.5, 0.6, 0.6), trained(0.5, 0.99, 0.99), trained(0.7, 0.7, 0.7), model={"width": 2.0}
    )
    assert (rate.tried, rate.chosen) == ((0.1, 0.3), 0.1)


def test_a_rate_that_lost_a_seed_is_not_chosen() -> None:
    (rate,) = rates([*trained(0.9, 0.9), None], trained(0.5, 0.7, 0.7), [None, None])
    assert (rate.chosen, rate.recipe) == (0.01, None)
    assert rates([None, None], [None, None], [None, None]) == []


def test_equal_rates_leave_the_recipe_s() -> None:
    (rate,) = rates(trained(0.9, 0.7, 0.7), trained(0.9, 0.7, 0.7), trained(0.7, 0.7, 0.7))
    assert rate.chosen == 0.1


def test_rates_are_compared_over_the_seeds_that_all_have() -> None:
    (rate,) = rates(trained(0.6, 0.6), trained(0.5, 0.5, 0.99), trained(0.4, 0.4, 0.99))
    assert (rate.chosen, rate.seeds) == (0.3, 1)
