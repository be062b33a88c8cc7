"""Workers that are killed, crash, leave without a result, hang, or run out of memory."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from resdeg.config import ExecutionConfig, RunConfig, resolve
from resdeg.errors import LostError
from resdeg.records import Progress
from resdeg.store import SweepStore
from resdeg.sweep import conduct
from resdeg.sweep.engine import Ended
from resdeg.sweep.supervisor import RETRIES, Retry, StopRequests, carry_out
from resdeg.sweep.workers.pool import SILENCE, Pool
from tests.sweep.stand_ins import train_with_trouble
from tests.trust.child import run, signature

WAYS = {
    "killed": "its worker died (signal 9, perhaps for want of memory)",
    "segfault": "its worker died (signal 11)",
    "exit 0": "its worker died (exit code 0)",
    "hang": "its worker gave no sign of life for 4 s (signal 9)",
    "memory": "out of memory on cpu",
}


class Ward(Pool):
    """A pool in which `victim` falls ill at its first `times` attempts; `order` is that of its runs."""

    def __init__(self, folder: Path, victim: RunConfig, way: str, times: int) -> None:
        entry = functools.partial(
            train_with_trouble, victim=victim.run_id, way=way, times=times, note=str(folder / "attempts")
        )
        # Short only where it is waited for: a loaded machine may keep a healthy worker silent for longer.
        super().__init__(folder, ExecutionConfig(), entry=entry, silence=4 if way == "hang" else SILENCE)
        self.order: list[str] = []

    def submit(self, run: RunConfig) -> None:
        self.order.append(run.run_id)
        super().submit(run)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_only_the_run_of_a_lost_worker_is_tried_again(tmp_path: Path, tiny_run, way: str) -> None:
    victim, other, third = tiny_run("residual"), tiny_run("plain"), tiny_run("plain", seed=1)
    ward = Ward(tmp_path, victim, way, times=1)
    events = list(carry_out([victim, other, third], ward, jobs=2, requests=StopRequests()))
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
    events = list(carry_out([victim, other], ward, jobs=2, requests=StopRequests()))
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
    events = list(carry_out([diverges, fails], ward, jobs=2, requests=StopRequests()))
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
        ward = functools.partial(
            conduct.run_sweep, engine=lambda folder, _: Ward(folder, victim, "killed", 9)
        )
        patched.setattr(conduct, "run_sweep", ward)
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
