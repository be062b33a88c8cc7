"""While one thread captures a graph, no other thread makes a call to the device."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resdeg import data
from resdeg.config import ExecutionConfig
from resdeg.runner import Trainer, execute
from resdeg.store import SweepStore
from resdeg.training.gate import CaptureGate
from resdeg.training.graph import Compute
from resdeg.training.state import to_bytes

CPU = torch.device("cpu")
SECONDS = 30.0  # the most that a thread is waited for, which a deadlock takes


class Device:
    """A device whose capture breaks where another thread calls it, as CUDA's does in a synchronising call."""

    def __init__(self) -> None:
        self.capturing: int | None = None
        self.captures = self.broken = self.calls = 0

    def synchronise(self) -> None:
        """The stand-in for `.item()`, a copy to the host, an allocation, ..."""
        self.calls += 1
        if self.capturing not in (None, threading.get_ident()):
            self.broken += 1

    def capture(self) -> None:
        """Takes long enough for every other thread to have its turn."""
        if self.capturing is not None:
            self.broken += 1
        self.capturing = threading.get_ident()
        time.sleep(0.003)
        self.captures += 1
        self.capturing = None


def run_threads(*targets: Callable[[], None]) -> None:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), "no thread waits for ever"


def break_captures(gate: CaptureGate) -> Device:
    """Lets three threads train, each of which captures now and then, and one capture that does not train."""
    device = Device()

    def train(first: int) -> None:
        for _ in range(5):
            with gate.working():
                for step in range(60):
                    device.synchronise()
                    if (step + first) % 25 == 0:
                        with gate.capturing():
                            device.capture()
                    device.synchronise()
                    gate.let_captures_pass()

    def capture_only() -> None:
        for _ in range(10):
            with gate.capturing():
                device.capture()
            time.sleep(0.005)

    run_threads(*(lambda first=first: train(first) for first in range(3)), capture_only)
    return device


def test_no_thread_breaks_the_capture_of_another() -> None:
    device = break_captures(CaptureGate())
    assert device.broken == 0
    assert device.captures == 5 * (3 + 2 + 2) + 10
    assert device.calls == 3 * 5 * 60 * 2


class OpenGate(CaptureGate):
    """Holds nobody."""

    def _enter(self) -> None: ...
    def _leave(self) -> None: ...


def test_the_stand_in_sees_a_broken_capture() -> None:
    """Without a gate the same threads break captures, so the test before this can fail."""
    assert break_captures(OpenGate()).broken > 0


def test_a_thread_that_raises_leaves_the_gate() -> None:
    gate = CaptureGate()
    with pytest.raises(ZeroDivisionError), gate.working():
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), gate.working(), gate.capturing():
        raise ZeroDivisionError

    def capture() -> None:
        with gate.capturing():
            pass

    run_threads(capture)


def test_runs_of_a_group_keep_off_a_capture(tmp_path: Path, tiny_run) -> None:
    """Two runs, from their opening to their summary, beside a thread that captures all the time."""
    gate, device, done = CaptureGate(), Device(), threading.Event()
    left = itertools.count(1)

    def note() -> bool:
        device.synchronise()
        return False

    def train(family: str) -> None:
        config = tiny_run(family)
        store = SweepStore(tmp_path).run(config.run_id)
        summary = execute(
            config, store, ExecutionConfig(group=2), stop=note, report=lambda progress: device.synchronise(),
            save_every=0, gate=gate,
        )  # fmt: skip
        assert summary.status == "finished"
        if next(left) == 2:
            done.set()

    def capture() -> None:
        while not done.wait(0.002):
            with gate.capturing():
                device.capture()

    run_threads(lambda: train("plain"), lambda: train("residual"), capture)
    assert done.is_set(), "both runs have finished"
    assert device.broken == 0
    assert device.captures > 20
    assert device.calls > 2 * 24


def test_a_capture_holds_the_gate_and_leaves_the_state(tiny_run) -> None:
    """Its recording is done by a stand-in, as a CPU has no graphs; the steps after it are those of a call."""
    config = tiny_run("residual", training={"schedule": "steps", "epochs": None, "steps": 12, "lr": 0.05})
    gate, seen = CaptureGate(), list[bool]()
    called, replayed = (Trainer.from_config(config, data.load(config.data), device=CPU) for _ in range(2))

    def work() -> None:
        with gate.working():
            seen.append(True)

    def record(warm_up: Compute, compute: Compute) -> Compute:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        warm_up()
        compute()
        thread.join(0.1)
        assert not seen, "another thread waits until the capture is done"
        return compute

    take_step = replayed.make_static_step()
    before = to_bytes(replayed.state)
    take_step.capture(gate=gate, record=record)
    run_threads(work)
    assert seen
    assert to_bytes(replayed.state) == before
    for trainer, take in ((called, called.make_step()), (replayed, take_step)):
        for step in range(10):
            take(step, step % 8)
            trainer.state.step += 1
    assert to_bytes(called.state) == to_bytes(replayed.state)
