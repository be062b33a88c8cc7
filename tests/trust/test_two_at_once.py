"""Two at once on one folder: one owner, each time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from resdeg import locks
from resdeg.config import RunConfig, resolve
from resdeg.errors import BusyError
from resdeg.store import SweepStore
from resdeg.sweep.workers.process import Worker
from tests.trust import scripted
from tests.trust.more import MORE

PAIRS, TOGETHER = 100 * MORE, 20
COMMANDS = 2 * MORE  # pairs of whole commands


@contextlib.contextmanager
def _no_lock(path: Path, wait: object = None) -> Iterator[None]:
    yield


def _contender(pipe: connection.Connection, folder: str, config: str, unlocked: bool) -> None:
    """Imports are done; at a message, own the sweep, and keep it until the next one."""
    if unlocked:
        locks.locked = _no_lock
    settings = RunConfig.model_validate_json(config)
    store = SweepStore(Path(folder))
    pipe.recv_bytes()
    try:
        with store.owned():
            pipe.send_bytes(json.dumps({"owner": os.getpid()}).encode())
            pipe.recv_bytes()
            if not unlocked:
                scripted.train(store.run(settings.run_id), settings)
    except BusyError as error:
        pipe.send_bytes(json.dumps({"busy": error.what, "code": error.exit_code}).encode())


class Pair:
    """Two contenders for one folder."""

    def __init__(self, folder: Path, config: RunConfig, unlocked: bool) -> None:
        arguments = (str(folder), config.model_dump_json(), unlocked)
        self.workers = [Worker.start(_contender, *arguments) for _ in range(2)]

    def go(self) -> None:
        for worker in self.workers:
            worker.send("go")

    def answers(self) -> list[dict[str, Any]]:
        return [worker.receive() for worker in self.workers]

    def end(self) -> None:
        for worker in self.workers:
            worker.send("end")
            worker.process.join()

    def kill(self) -> None:
        for worker in self.workers:
            worker.process.kill()


def pairs(
    tmp_path: Path, config: RunConfig, unlocked: bool, count: int
) -> Generator[tuple[Path, list[Any]], None, None]:
    """Folders and the answers of the two, some pairs side by side."""
    for first in range(0, count, TOGETHER):
        folders = [tmp_path / str(number) for number in range(first, min(first + TOGETHER, count))]
        waiting = [Pair(folder, config, unlocked) for folder in folders]
        for pair in waiting:
            pair.go()
        try:
            for folder, pair in zip(folders, waiting, strict=True):
                yield folder, pair.answers()
                pair.end()
        finally:
            # Where an answer is wrong, the contenders wait for an end, and Python at its exit for them.
            for pair in waiting:
                pair.kill()


@pytest.mark.slow
def test_one_of_two_owns_each_time(tmp_path: Path, tiny_run) -> None:
    config = tiny_run()
    seen = 0
    with contextlib.closing(pairs(tmp_path, config, False, PAIRS)) as each:
        for _, (first, second) in each:
            owner, busy = (first, second) if "owner" in first else (second, first)
            assert set(owner) == {"owner"}
            assert busy["code"] == 6
            assert f"held by pid {owner['owner']} on " in busy["busy"], "the other says who"
            seen += 1
    assert seen == PAIRS
    for number in range(PAIRS):
        assert SweepStore(tmp_path / str(number)).run(config.run_id).state() == "finished"


@pytest.mark.slow
def test_without_the_lock_there_are_two_owners(tmp_path: Path, tiny_run) -> None:
    """What shows that the test above can fail."""
    answers = [both for _, both in pairs(tmp_path, tiny_run(), True, 2)]
    assert all("owner" in answer for both in answers for answer in both)


@pytest.mark.slow
def test_a_lock_of_the_dead_needs_no_hand(tmp_path: Path, tiny_run) -> None:
    """The owner is killed; its note still names it, and the next one owns at once."""
    config = tiny_run()
    pair = Pair(tmp_path, config, False)
    owner, other = pair.workers
    owner.send("go")
    assert "owner" in owner.receive()
    owner.process.kill()
    owner.process.join()
    assert (tmp_path / "lock-owner").exists()
    other.send("go")
    assert other.receive() == {"owner": other.process.pid}
    pair.end()


# The imports of the coordinator, then the barrier, then the command.
_COMMAND = """
import sys
from resdeg.cli import app
import resdeg.report.kinds, resdeg.sweep.conduct
print("ready", flush=True)
sys.stdin.readline()
app.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("wait", [False, True])
def test_two_commands(tmp_path: Path, tiny_toml: Path, wait: bool) -> None:
    """One trains; the other says who does, or waits and finds nothing left to train."""
    grid = {"depths": "8", "families": "plain", "seeds": "0", "training": {"epochs": 60}}
    config = resolve(tiny_toml, {}, [], grid).runs()[0]
    arguments = ["--depths", "8", "--families", "plain", "--seeds", "0", "--epochs", "60", *["--wait"] * wait]
    for number in range(COMMANDS // 2):
        folder = tmp_path / str(number)
        both = [
            subprocess.Popen(
                [sys.executable, "-c", _COMMAND, "sweep", tiny_toml, *arguments, "--out", folder],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        for process in both:
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.stdin.write("go\n")
            process.stdin.flush()
        stderr = [process.communicate(timeout=120)[1] for process in both]
        codes = [process.returncode for process in both]
        assert sorted(codes) == ([0, 0] if wait else [0, 6]), stderr
        idle = stderr[codes.index(6)] if not wait else next(text for text in stderr if "waiting: " in text)
        owner = both[1 - stderr.index(idle)]
        assert f"{folder} is busy: held by pid {owner.pid} on " in idle
        assert ("nothing to train" in idle) == wait
        store = SweepStore(folder).run(config.run_id)
        assert store.state() == "finished"
        assert [record.epoch for record in store.metrics()] == list(range(1, 61))
        assert len(store.environment().segments) == 1, "trained once"
