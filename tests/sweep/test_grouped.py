"""Runs that share a worker process: the same bits as alone, and nobody's trouble is another's."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.records import Progress
from resdeg.store import SweepStore
from resdeg.sweep.engine import Ended
from resdeg.sweep.supervisor import Retry, StopRequests, carry_out
from resdeg.sweep.workers.pool import SILENCE, Pool
from resdeg.sweep.workers.process import Worker
from tests.sweep.stand_ins import train_with_trouble
from tests.trust.child import run, signature

pytestmark = pytest.mark.slow

PAIR = ExecutionConfig(group=2)


def straight(folder: Path, config: RunConfig) -> dict[str, Any]:
    """What is left of the run by itself, in this process."""
    store = SweepStore(folder / "straight").run(config.run_id)
    store.folder.mkdir(parents=True)
    run(store, config)
    return signature(store)


def troubled(folder: Path, victim: RunConfig, way: str) -> Pool:
    """A pool of pairs in which the victim gets into trouble at its first attempt."""
    entry = functools.partial(
        train_with_trouble, victim=victim.run_id, way=way, times=1, note=str(folder / "note")
    )
    return Pool(folder, PAIR, entry=entry, silence=4 if way == "hang" else SILENCE)


def test_a_group_trains_the_bits_of_its_runs_alone(tmp_path: Path, tiny_run) -> None:
    """Side by side in one process, one following the first that ends, one of them diverging."""
    wild = tiny_run("plain", training={"lr": 1e9})
    runs = [tiny_run("residual"), wild, tiny_run("plain"), tiny_run("residual", depth=14, seed=1)]
    pool = Pool(tmp_path, PAIR)
    processes: set[int] = set()
    events = []
    for event in carry_out(runs, pool, jobs=2, requests=StopRequests()):
        processes.add(len(pool.workers))
        events.append(event)
    assert processes <= {0, 1}, "one process for both"
    ended = {event.run_id: event.summary.status for event in events if isinstance(event, Ended)}
    assert ended == {run.run_id: "diverged" if run == wild else "finished" for run in runs}
    for config in (config for config in runs if config != wild):
        assert signature(SweepStore(tmp_path).run(config.run_id)) == straight(tmp_path, config)
    first, second, *_ = [event.run_id for event in events if isinstance(event, Progress)]
    assert {first, second} == {runs[0].run_id, wild.run_id}, "they began together"


@pytest.mark.parametrize("way", ["killed", "hang", "raises", "leaves its thread"])
def test_the_trouble_of_one(tmp_path: Path, tiny_run, way: str) -> None:
    """A process takes all of its runs along, and each is tried again alone; an exception is its run's own."""
    victim, other = tiny_run("residual"), tiny_run("plain", depth=20)  # which is not done by then
    pool = troubled(tmp_path, victim, way)
    events, side_by_side = [], 0
    for event in carry_out([victim, other], pool, jobs=2, requests=StopRequests()):
        events.append(event)
        side_by_side = max([side_by_side, *(len(worker.heard) for worker in pool.workers)])
    assert side_by_side == 2
    retried = {event.run_id: event.why for event in events if isinstance(event, Retry)}
    ended = {event.run_id: event.summary.status for event in events if isinstance(event, Ended)}
    if way == "raises":
        assert not retried
        assert ended == {victim.run_id: "failed", other.run_id: "finished"}
        assert (
            "of the victim alone"
            in (SweepStore(tmp_path).run(victim.run_id).folder / "error.txt").read_text()
        )
    else:
        both = {victim.run_id, other.run_id}
        if way == "killed":
            assert retried.keys() == both
        elif way == "leaves its thread":
            assert retried.keys() == {victim.run_id}
        assert victim.run_id in retried
        assert ended == dict.fromkeys(both, "finished")
        assert signature(SweepStore(tmp_path).run(victim.run_id)) == straight(tmp_path, victim)
    assert signature(SweepStore(tmp_path).run(other.run_id)) == straight(tmp_path, other)


def test_a_group_saves_and_goes_on(tmp_path: Path, tiny_run) -> None:
    runs = [tiny_run(family, training={"epochs": 12}) for family in ("residual", "plain")]
    requests = StopRequests()

    def stopping() -> Iterator[Any]:
        for event in carry_out(runs, Pool(tmp_path, PAIR), jobs=2, requests=requests):
            if isinstance(event, Progress) and event.step >= 5:
                requests.hear(15, None) if requests.number is None else None
            yield event

    ended = {e.run_id: e.summary.status for e in stopping() if isinstance(e, Ended)}
    assert ended == {config.run_id: "stopped" for config in runs}
    for event in carry_out(runs, Pool(tmp_path, PAIR), jobs=2, requests=StopRequests()):
        if isinstance(event, Ended):
            assert event.summary.status == "finished"
    for config in runs:
        assert signature(SweepStore(tmp_path).run(config.run_id)) == straight(tmp_path, config)


def test_a_worker_leaves_when_its_last_run_has_ended(tmp_path: Path, tiny_run) -> None:
    """By itself, although its pool could give it another run, and so does each worker of a single run."""
    for execution, processes in ((PAIR, 1), (ExecutionConfig(), 2)):
        pool = Pool(tmp_path / f"{execution.group}", execution)
        workers: list[Worker] = []
        runs = [tiny_run("plain"), tiny_run("residual")]
        for _ in carry_out(runs, pool, jobs=2, requests=StopRequests()):
            workers += [worker for worker in pool.workers if worker not in workers]
        assert len(workers) == processes
        assert pool.workers == []
        assert [worker.process.exitcode for worker in workers] == [0] * processes


@pytest.mark.gpu
def test_a_group_of_captured_runs_on_cuda(tmp_path: Path, tiny_run) -> None:
    """Streams overlap, captures take turns; every run has the bits that it has alone."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    runs = [tiny_run(family, seed=seed) for family in ("plain", "residual") for seed in range(2)]
    signatures = []
    for group, folder in ((4, tmp_path / "grouped"), (1, tmp_path / "alone")):
        pool = Pool(folder, ExecutionConfig(group=group, device="cuda", graph=True))
        events = carry_out(runs, pool, jobs=group, requests=StopRequests())
        ended = [event for event in events if isinstance(event, Ended)]
        assert [e.summary and e.summary.status for e in ended] == ["finished"] * 4
        signatures.append([signature(SweepStore(folder).run(config.run_id)) for config in runs])
    assert signatures[0] == signatures[1]
