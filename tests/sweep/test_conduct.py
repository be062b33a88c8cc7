"""What `run_sweep` does in its folder before the first step, with facts and an engine of paper."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resdeg.config import ExecutionConfig, SweepConfig
from resdeg.errors import BusyError, StorageError
from resdeg.store import SweepStore, open_run
from resdeg.sweep.calibration import Facts
from resdeg.sweep.conduct import Begun, Event, NothingToTrain, SetAside, follow, price_sweep, run_sweep
from tests.planted import planted
from tests.sweep.shared_out import contents
from tests.sweep.test_supervisor import Paper


class PaperEngine(Paper):
    """Ends every run without a summary, so that the sweep comes to its end."""

    description = ""

    def __init__(self, folder: Path, execution: ExecutionConfig) -> None:
        super().__init__()

    def make_room(self, *, threads: int, memory: int) -> int | None:
        return None


def estimate(config: SweepConfig, *, read_data: bool, parameters: int = 1) -> Facts:
    counts = {run.run_id: parameters for run in config.runs()}
    seconds = dict.fromkeys(counts, 0.1)
    return Facts(
        device="cpu", parameters=counts, multiply_adds=counts, step_seconds=seconds, worker_bytes=1,
        data_hash=None,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> SweepStore:
    """A finished sweep of two runs."""
    cells = {("plain", 8): [0.5], ("residual", 8): [0.5]}
    return planted(tmp_path / "out", cells, data={"name": "hierarchy"})


@pytest.fixture
def train(store: SweepStore) -> Callable[..., list[Event]]:
    def go(**options: Any) -> list[Event]:
        config, events = store.planned(), list[Event]()
        assert config is not None
        options = {"ask": estimate, "engine": PaperEngine, **options}
        follow(run_sweep(config, store.folder, **options), events.append)
        return events

    return go


@pytest.mark.parametrize("fresh", [True, False])
def test_runs_that_another_sweep_set_aside_meanwhile_are_trained(
    train, store: SweepStore, fresh: bool
) -> None:
    """They were finished when this sweep began to wait."""
    owner, run_ids = store.owned(), store.run_ids()
    owner.__enter__()

    def wait(busy: str) -> None:
        for run_id in run_ids:
            store.set_aside(run_id)
        owner.__exit__(None, None, None)

    events = train(fresh=fresh, waiting=wait)
    (begun,) = (event for event in events if isinstance(event, Begun))
    assert [run.run_id for run in begun.priced.plan.todo] == run_ids
    assert not any(isinstance(event, SetAside | NothingToTrain) for event in events)


def test_runs_are_set_aside_once_and_trained_anew(train, store: SweepStore) -> None:
    events = train(fresh=True)
    assert sum(isinstance(event, SetAside) for event in events) == 2
    assert store.run_ids() == []
    (begun,) = (event for event in events if isinstance(event, Begun))
    assert {*begun.priced.plan.states.values()} == {"missing"}


def test_fresh_runs_are_priced_as_if_nothing_were_there(store: SweepStore) -> None:
    """The disk keeps what is set aside."""
    config = store.planned()
    assert config is not None
    before = contents(store.folder)
    goes_on, anew = (price_sweep(config, store.folder, fresh=fresh, ask=estimate) for fresh in (False, True))
    assert goes_on.plan.todo == []
    assert goes_on.missing_bytes() == 0
    assert [run.run_id for run in anew.plan.todo] == store.run_ids()
    assert anew.missing_bytes() == sum(cost.bytes for cost in anew.costs.values())
    assert contents(store.folder) == before


def test_a_full_disk_is_noticed_before_a_run_is_set_aside(train, store: SweepStore) -> None:
    before = contents(store.folder)
    with pytest.raises(StorageError, match="this sweep needs about"):
        train(fresh=True, ask=partial(estimate, parameters=10**15))
    assert contents(store.folder) == before


def test_a_run_that_a_lost_worker_trains_is_not_set_aside(train, store: SweepStore) -> None:
    run = store.run(store.run_ids()[1])
    with open_run(run, run.config()):
        before = contents(store.folder)
        with pytest.raises(BusyError, match=f"{run.folder} is busy: a worker trains it"):
            train(fresh=True)
        assert contents(store.folder) == before
