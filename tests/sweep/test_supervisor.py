"""Supervision with an engine of paper: order, slots, stopping, and what a sweep costs."""

from __future__ import annotations

import time

import pytest

from resdeg.config import resolve
from resdeg.errors import ResdegError
from resdeg.records import Progress
from resdeg.store import SweepStore
from resdeg.sweep.calibration import Facts
from resdeg.sweep.engine import Ended
from resdeg.sweep.estimate import START_SECONDS, run_cost, wall_seconds
from resdeg.sweep.plan import Plan
from resdeg.sweep.preflight import ask_preflight
from resdeg.sweep.signals import handling
from resdeg.sweep.supervisor import StopNow, StopRequests, carry_out


class Paper:
    """Ends one run at each poll; remembers what was asked of it."""

    def __init__(self, fails: str = "") -> None:
        self.running: list[str] = []
        self.most = 0
        self.order: list[str] = []
        self.cancelled = self.killed = 0
        self.fails = fails

    def submit(self, run) -> None:
        self.running.append(run.run_id)
        self.order.append(run.run_id)
        self.most = max(self.most, len(self.running))

    def poll(self, timeout: float):
        run_id = self.running.pop(0)
        error = ResdegError("broken") if run_id == self.fails else None
        return [Progress(run_id=run_id, step=1, steps=1), Ended(run_id, None, error)]

    def cancel(self) -> None:
        self.cancelled += 1

    def kill(self) -> None:
        self.killed += 1


RUNS = resolve(None, {}, [], {"depths": "8,14,20", "seeds": "0"}).runs()


def test_all_runs_are_carried_out_n_at_a_time() -> None:
    paper = Paper(fails=RUNS[0].run_id)
    events = list(carry_out(RUNS, paper, jobs=2, requests=StopRequests()))
    assert paper.most == 2
    assert paper.order == [run.run_id for run in RUNS], "and the one that failed stopped no other"
    assert sum(isinstance(event, Ended) for event in events) == len(RUNS)
    assert (paper.cancelled, paper.killed) == (0, 1)


def test_a_stop_cancels_once_and_starts_nothing_more() -> None:
    paper, requests = Paper(), StopRequests()
    for k, _ in enumerate(carry_out(RUNS, paper, jobs=2, requests=requests)):
        if k == 0:
            requests.hear(15, None)
    assert paper.cancelled == 1
    assert len(paper.order) < len(RUNS)
    with pytest.raises(StopNow):
        requests.hear(15, None)


def test_a_deadline_cancels_in_time() -> None:
    paper = Paper()
    list(carry_out(RUNS, paper, jobs=1, requests=StopRequests(), deadline=time.monotonic()))
    assert (paper.cancelled, paper.order) == (1, [])


def test_handlers_are_put_back() -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with handling(StopRequests().hear):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_wall_time_is_that_of_the_busiest_worker() -> None:
    assert wall_seconds([5.0, 4.0, 3.0], jobs=2, one_gpu=False) == 7.0
    assert wall_seconds([5.0, 4.0, 3.0], jobs=1, one_gpu=False) == 12.0


def test_runs_on_one_gpu_are_not_priced_as_if_each_had_its_own() -> None:
    assert wall_seconds([7.0] * 10, jobs=10, one_gpu=True) == 40.0
    assert wall_seconds([5.0, 4.0, 3.0], jobs=1, one_gpu=True) == 12.0
    assert wall_seconds([9.0, 1.0, 1.0], jobs=3, one_gpu=True) == 9.0, "the longest run has no help"


def test_cost_is_steps_times_their_seconds_and_the_evaluations() -> None:
    run = RUNS[0]
    facts = Facts(
        device="cpu", parameters={run.run_id: 100}, multiply_adds={run.run_id: 1000},
        step_seconds={run.run_id: 0.1}, worker_bytes=1, data_hash=None,
    )  # fmt: skip
    cost = run_cost(run, facts)
    at_the_end = 3 * 50_000 / 3  # scored, once more for batch norm statistics, scored by those
    images = 3906 * 128 + 10 * (10_000 + 10_000) / 3 + at_the_end
    assert cost.seconds == pytest.approx(images / 128 * 0.1 + START_SECONDS)
    assert cost.multiply_adds == pytest.approx(3 * 1000 * images)
    assert cost.clean == pytest.approx(at_the_end / images)
    assert run_cost(run, facts, snapshots=3).bytes - cost.bytes == 3 * 4 * 100, "weights alone, in fp32"


def test_the_deepest_come_first(tmp_path) -> None:
    config = resolve(None, {}, [], {"depths": "8,20,14", "seeds": "0-1"})
    assert [run.depth for run in Plan.load(config, SweepStore(tmp_path)).todo] == [20] * 4 + [14] * 4 + [
        8
    ] * 4


@pytest.mark.slow
def test_preflight_counts_in_a_worker() -> None:
    config = resolve(None, {}, [], {"depths": "2,8", "seeds": "0", "data": {"name": "hierarchy"}})
    facts = ask_preflight(config, read_data=True)
    assert sorted(facts.parameters.values()) == [634, 75_290, 75_290]
    assert all(seconds > 0 for seconds in facts.step_seconds.values())
    assert len(facts.data_hash or "") == 64
