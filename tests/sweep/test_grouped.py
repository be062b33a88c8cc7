"""Runs that share a worker process: the same bits as alone, and nobody's trouble is another's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest
import torch

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.records import Progress
from resdeg.runner import Trainer
from resdeg.store import SweepStore
from resdeg.sweep.executors import EXECUTORS, Where, grouped
from resdeg.sweep.executors.grouped import GroupedExecutor
from resdeg.sweep.executors.local import Ended, LocalExecutor
from resdeg.sweep.executors.process import spawn
from resdeg.sweep.supervisor import Retry, StopRequests, carry_out
from tests.trust.child import run, signature

pytestmark = pytest.mark.slow

PAIR = ExecutionConfig(group=2)


def straight(folder: Path, config: RunConfig) -> dict[str, Any]:
    """What is left of the run by itself, in this process."""
    store = SweepStore(folder / "straight").run(config.run_id)
    store.folder.mkdir(parents=True)
    run(store, config)
    return signature(store)


def troubled(pipe: Any, commands: Any, way: str, victim: str, note: str, folder: str, execution: str) -> None:
    """A worker in which the victim comes to grief at its twelfth step, the first time."""
    original = Trainer.batch_at

    def batch_at(trainer: Trainer, step: int) -> Any:
        if trainer.config.run_id == victim and step == 12 and not Path(note).exists():
            Path(note).touch()
            match way:
                case "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "hangs":
                    time.sleep(60)
                case "raises":
                    raise ValueError("of the victim alone")
                case "leaves its thread":
                    raise SystemExit
        return original(trainer, step)

    Trainer.batch_at = batch_at  # type: ignore[method-assign]
    grouped._host(pipe, commands, folder, execution)


class Troubled(GroupedExecutor):
    def __init__(self, folder: Path, victim: RunConfig, way: str) -> None:
        super().__init__(folder, PAIR, silence=4 if way == "hangs" else 600)
        self.way, self.victim, self.most = way, victim, 0

    def submit(self, run: RunConfig) -> None:
        super().submit(run)
        self.most = max(self.most, max(len(host.heard) for host in self._hosts))

    def _start(self) -> grouped._Host:
        theirs, ours = connection.Pipe(duplex=False)
        trouble = (self.way, self.victim.run_id, str(self._folder / "note"))
        process, answers = spawn(troubled, theirs, *trouble, str(self._folder), PAIR.model_dump_json())
        theirs.close()
        self._hosts.append(grouped._Host(process, answers, ours))
        return self._hosts[-1]


def test_a_group_trains_the_bits_of_its_runs_alone(tmp_path: Path, tiny_run) -> None:
    """Side by side in one process, one following the first that ends, one of them diverging."""
    wild = tiny_run("plain", training={"lr": 1e9})
    runs = [tiny_run("residual"), wild, tiny_run("plain"), tiny_run("residual", depth=14, seed=1)]
    executor = EXECUTORS["local"](Where(tmp_path, PAIR))
    assert isinstance(executor, GroupedExecutor)
    threads: set[int] = set()
    events = []
    for event in carry_out(runs, executor, 2, StopRequests()):
        threads.add(len(executor._hosts))
        events.append(event)
    assert threads <= {0, 1}, "one process for both"
    ended = {event.run_id: event.summary.status for event in events if isinstance(event, Ended)}
    assert ended == {c.run_id: "diverged" if c == wild else "finished" for c in runs}
    for config in (config for config in runs if config != wild):
        assert signature(SweepStore(tmp_path).run(config.run_id)) == straight(tmp_path, config)
    told = [event.run_id for event in events if isinstance(event, Progress)]
    assert {told[0], told[1]} == {runs[0].run_id, wild.run_id}, "they began together"


def test_one_in_a_group_is_a_worker_of_its_own(tmp_path: Path) -> None:
    assert isinstance(EXECUTORS["local"](Where(tmp_path, ExecutionConfig())), LocalExecutor)


@pytest.mark.parametrize("way", ["killed", "hangs", "raises", "leaves its thread"])
def test_the_trouble_of_one(tmp_path: Path, tiny_run, way: str) -> None:
    """A process takes all of its runs along, and each is tried again alone; an exception is its run's own."""
    victim, other = tiny_run("residual"), tiny_run("plain", depth=20)  # which is not done by then
    executor = Troubled(tmp_path, victim, way)
    events = list(carry_out([victim, other], executor, 2, StopRequests()))
    assert executor.most == 2
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
        for event in carry_out(runs, GroupedExecutor(tmp_path, PAIR), 2, requests):
            if isinstance(event, Progress) and event.step >= 5:
                requests._heard(15, None) if requests.number is None else None
            yield event

    ended = {e.run_id: e.summary.status for e in stopping() if isinstance(e, Ended)}
    assert ended == {config.run_id: "stopped" for config in runs}
    for event in carry_out(runs, GroupedExecutor(tmp_path, PAIR), 2, StopRequests()):
        if isinstance(event, Ended):
            assert event.summary.status == "finished"
    for config in runs:
        assert signature(SweepStore(tmp_path).run(config.run_id)) == straight(tmp_path, config)


def test_no_thread_of_a_group_is_left(tmp_path: Path, tiny_run) -> None:
    """The worker leaves when its last run has ended, and so does the coordinator's end of it."""
    executor = GroupedExecutor(tmp_path, PAIR)
    list(carry_out([tiny_run("plain")], executor, 2, StopRequests()))
    assert executor._hosts == []
    assert threading.active_count() == 1


@pytest.mark.gpu
def test_a_group_of_captured_runs_on_cuda(tmp_path: Path, tiny_run) -> None:
    """Streams overlap, captures take turns; every run has the bits that it has alone."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    runs = [tiny_run(family, seed=seed) for family in ("plain", "residual") for seed in range(2)]
    signatures = []
    for group, folder in ((4, tmp_path / "grouped"), (1, tmp_path / "alone")):
        where = Where(folder, ExecutionConfig(group=group, device="cuda", graph=True))
        ended = [
            e
            for e in carry_out(runs, EXECUTORS["local"](where), group, StopRequests())
            if isinstance(e, Ended)
        ]
        assert [e.summary and e.summary.status for e in ended] == ["finished"] * 4
        signatures.append([signature(SweepStore(folder).run(config.run_id)) for config in runs])
    assert signatures[0] == signatures[1]
