"""Rates as functions of the step."""

from __future__ import annotations

import pytest

from resdeg.config import TrainingConfig
from resdeg.config.recipes import RECIPES, recipe
from resdeg.training.schedule import SCHEDULES, Schedule, learning_rate


def rates(total: int, **settings: object) -> list[float]:
    config = TrainingConfig(**{"steps": total, **settings})
    return [learning_rate(config, step, total) for step in range(total)]


def test_drops_fall_on_32k_and_48k_of_64k() -> None:
    config = TrainingConfig(**recipe("he2015"))
    at = {step: learning_rate(config, step, 64_000) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)}
    assert list(at.values()) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_warm_up_holds_for_400_steps_and_then_the_recipe_goes_on() -> None:
    config = TrainingConfig(**recipe("he2015-warmup"))
    assert [learning_rate(config, step, 64_000) for step in (0, 399, 400)] == [0.01, 0.01, 0.1]


def test_the_triangle_rises_over_15_percent_and_ends_near_zero() -> None:
    values = rates(1000)
    assert max(values) == pytest.approx(0.1, rel=0.01)
    assert values.index(max(values)) in (149, 150)
    assert values[:150] == sorted(values[:150])
    assert values[150:] == sorted(values[150:], reverse=True)
    assert 0 < values[0] < 0.001
    assert 0 < values[-1] < 0.001


def test_a_shape_scales_with_the_run() -> None:
    assert rates(1000)[5::10] == pytest.approx(rates(100), abs=5e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_stays_between_0_and_lr(schedule: str) -> None:
    assert all(0 < rate <= 0.3 for rate in rates(77, schedule=schedule, lr=0.3))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_training(name: str) -> None:
    assert TrainingConfig(**recipe(name)).recipe == name


def test_unknown_names_have_a_way_out() -> None:
    with pytest.raises(ValueError, match="did you mean 'he2015'"):
        recipe("he2016")
    with pytest.raises(ValueError, match="did you mean 'triangle'"):
        rates(5, schedule="triangel")


def test_lengths() -> None:
    assert TrainingConfig(epochs=3).total_steps(50_000) == 1172
    assert TrainingConfig(epochs=10).total_steps(50_000) == 3906
    assert TrainingConfig(steps=64_000).total_steps(50_000) == 64_000
    for settings in ({}, {"epochs": 1, "steps": 1}):
        with pytest.raises(ValueError, match="not both"):
            TrainingConfig(**settings)


def test_a_later_phase_has_the_whole_shape_on_its_own_steps() -> None:
    """A static step asks for whole chunks of rates, so steps before the phase have a rate too."""
    config = TrainingConfig(steps=24)
    later = Schedule(config, [4, 8, 16, 24], first=8)
    assert [later.rate_at(step) for step in range(8, 24)] == rates(16)
    assert {later.rate_at(step) for step in range(8)} == {later.rate_at(8)}
    assert (later.last, later.longest_epoch) == (24, 8)


def test_epochs_that_were_recorded_are_not_gone_through_again() -> None:
    schedule = Schedule(TrainingConfig(steps=20), [8, 16, 20])
    assert list(schedule.epochs()) == [(1, 0, 8), (2, 8, 16), (3, 16, 20)]
    assert list(schedule.epochs(after=7)) == list(schedule.epochs())
    assert list(schedule.epochs(after=8)) == [(2, 8, 16), (3, 16, 20)]
    assert list(schedule.epochs(after=20)) == []
