"""What a sweep still costs, by the runs that have finished."""

from __future__ import annotations

import pytest

from resdeg.analysis.status import RunRow, estimate_seconds_left
from resdeg.store import RunState


def row(depth: int, state: RunState, seconds: float = 0.0) -> RunRow:
    return RunRow(
        run_id=f"plain-d{depth}", arm="", depth=depth, state=state, step=0, steps=10, test_accuracy=None,
        train_accuracy=None, seconds=seconds, reason=None,
    )  # fmt: skip


def test_a_run_is_priced_by_the_median_of_the_nearest_depth() -> None:
    """One run of depth 20 took ten times as long, as it had other work beside it."""
    done = [row(20, "finished", seconds) for seconds in (100.0, 1000.0, 110.0)] + [row(8, "finished", 50.0)]
    assert estimate_seconds_left([*done, row(20, "missing"), row(8, "stopped", 20.0)]) == 110 + 30
    assert estimate_seconds_left([*done, row(56, "missing")]) == pytest.approx(110 * 56 / 20)
    assert estimate_seconds_left([*done, row(8, "running", 70.0), row(8, "diverged", 1.0)]) == 0


def test_nothing_is_known_before_a_run_has_finished() -> None:
    assert estimate_seconds_left([row(8, "running", 5.0), row(8, "diverged", 5.0)]) is None
