"""Workers that are killed, crash, leave without a result, hang, or run out of memory."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from resdeg.config import ExecutionConfig, RunConfig, resolve
from resdeg.errors import LostError
from resdeg.records import Progress
from resdeg.store import SweepStore
from resdeg.sweep.executors import EXECUTORS, local
from resdeg.sweep.executors.local import SILENCE, Ended, LocalExecutor
from resdeg.sweep.executors.process import spawn
from resdeg.sweep.supervisor import RETRIES, Retry, StopRequests, carry_out
from tests.trust.child import run, signature

WAYS = {
    "killed": "its worker died (signal 9, perhaps for want of memory)",
    "segfault": "its worker died (signal 11)",
    "exit 0": "its worker died (exit code 0)",
    "hang": "its worker gave no sign of life for 4 s (signal 9)",
    "memory": "out of memory on cpu",
}


def fall_ill(way: str) -> None:
    import torch

    match way:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's faulthandler is inherited
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit 0":
            os._exit(0)
        case "hang":
            time.sleep(60)  # far longer than the silence that is allowed
        case "memory":
            torch.empty(10**15)


def sick_worker(pipe: Any, way: str, note: str, *arguments: str) -> None:
    """Falls ill at the twelfth step that it takes; `note` counts the attempts."""
    from resdeg.runner import Trainer

    with Path(note).open("a") as attempts:
        attempts.write("x")
    original, steps = Trainer.batch_at, 0

    def batch_at(trainer: Trainer, step: int) -> Any:
        nonlocal steps
        steps += 1
        if steps == 12:
            fall_ill(way)
        return original(trainer, step)

    Trainer.batch_at = batch_at  # type: ignore[method-assign]
    local._train(pipe, *arguments)


class Ward(LocalExecutor):
    """Gives `victim` a sick worker at its first `times` attempts."""

    def __init__(self, folder: Path, victim: RunConfig, way: str, times: int) -> None:
        # Short only where it is waited for: a loaded machine may keep a healthy worker silent for longer.
        super().__init__(folder, ExecutionConfig(), silence=4 if way == "hang" else SILENCE)
        self.folder, self.victim, self.way, self.times = folder, victim, way, times
        self.order: list[str] = []

    def submit(self, run: RunConfig) -> None:
        self.order.append(run.run_id)
        if run != self.victim or self.order.count(run.run_id) > self.times:
            super().submit(run)
            return
        arguments = (run.model_dump_json(), str(self._folder), self._execution.model_dump_json())
        pipe = spawn(sick_worker, self.way, str(self.folder / "attempts"), *arguments)
        self._workers[run.run_id] = local._Worker(*pipe)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_only_the_run_of_a_lost_worker_is_tried_again(tmp_path: Path, tiny_run, way: str) -> None:
    victim, other, third = tiny_run("residual"), tiny_run("plain"), tiny_run("plain", seed=1)
    ward = Ward(tmp_path, victim, way, times=1)
    events = list(carry_out([victim, other, third], ward, 2, StopRequests()))
    retries = [event for event in events if isinstance(event, Retry)]
    assert [(retry.run_id, retry.attempt) for retry in retries] == [(victim.run_id, 1)]
    assert WAYS[way] in retries[0].why
    assert ward.order == [victim.run_id, other.run_id, third.run_id, victim.run_id], "last, and alone"
    ended = [event for event in events if isinstance(event, Ended)]
    assert [event.summary and event.summary.status for event in ended] == ["finished"] * 3
    for config in (victim, other):
        straight = SweepStore(tmp_path / "straight").run(config.run_id)
        straight.folder.mkdir(parents=True)
        run(straight, config)
        assert signature(SweepStore(tmp_path).run(config.run_id)) == signature(straight)
    after = [e for e in events[events.index(retries[0]) :] if isinstance(e, Progress)]
    assert next(e.step for e in after if e.run_id == victim.run_id) == 8, "from its checkpoint"


@pytest.mark.slow
def test_a_run_that_loses_every_worker_is_given_up(tmp_path: Path, tiny_run) -> None:
    """Each attempt gets one checkpoint further; this run has more of them than attempts."""
    victim, other = tiny_run("residual", training={"epochs": 8}), tiny_run("plain")
    ward = Ward(tmp_path, victim, "killed", times=9)
    events = list(carry_out([victim, other], ward, 2, StopRequests()))
    assert (tmp_path / "attempts").read_text() == "x" * (1 + RETRIES)
    last = events[-1]
    assert isinstance(last, Ended)
    assert (last.run_id, last.summary, type(last.error)) == (victim.run_id, None, LostError)
    store = SweepStore(tmp_path)
    assert store.run(victim.run_id).state() == "interrupted"
    assert store.run(other.run_id).state() == "finished"


@pytest.mark.slow
def test_what_is_no_accident_is_not_tried_again(tmp_path: Path, tiny_run) -> None:
    """A diverged run is a result; a run that fails would fail again."""
    diverges = tiny_run(model={"norm": "none"}, training={"lr": 1e9, "schedule": "constant"})
    fails = tiny_run("residual")
    store = SweepStore(tmp_path)
    store.run(fails.run_id).folder.mkdir(parents=True)
    (store.run(fails.run_id).folder / "config.json").write_text("{}")
    ward = Ward(tmp_path, tiny_run(seed=9), "killed", times=0)
    events = list(carry_out([diverges, fails], ward, 2, StopRequests()))
    assert not [event for event in events if isinstance(event, Retry)]
    assert ward.order == [diverges.run_id, fails.run_id]
    assert store.run(diverges.run_id).state() == "diverged"


@pytest.mark.slow
def test_the_command_says_what_was_lost(resdeg, tiny_toml, tmp_path: Path, monkeypatch) -> None:
    grid = {"depths": "8", "families": "plain", "seeds": "0-1", "training": {"epochs": 8}}
    victim = resolve(tiny_toml, {}, [], grid).runs()[0]
    arguments = (
        "sweep",
        tiny_toml,
        "--depths",
        "8",
        "--families",
        "plain",
        "--seeds",
        "0-1",
        "--epochs",
        "8",
    )
    with monkeypatch.context() as patched:
        patched.setitem(EXECUTORS, "local", lambda where: Ward(where.folder, victim, "killed", times=9))
        done = resdeg(*arguments, "--out", "out")
    assert done.returncode == 3
    said = f"{victim.run_id}: its worker died (signal 9, perhaps for want of memory)"
    for attempt in range(1, 1 + RETRIES):
        assert f"{said}; to be tried again ({attempt} of {RETRIES})" in done.stderr
    assert f"{victim.run_id} failed: {said}" in done.stderr
    assert "1 of 2 runs failed" in done.stderr
    assert "1 finished" in resdeg("status", "out").stdout
    assert "1 interrupted" in resdeg("status", "out").stdout
    assert resdeg(*arguments, "--out", "out").returncode == 0
