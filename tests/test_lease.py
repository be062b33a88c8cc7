"""The lease of a folder that several hosts write in: one owner, and a late one that writes nothing more."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import connection
from pathlib import Path

import pytest

from resdeg import locks
from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import BusyError, LostError, StorageError
from resdeg.runner import execute
from resdeg.store import RunStore, Session, SweepStore, open_run
from resdeg.store.lease import is_leased_elsewhere, leased
from resdeg.sweep.workers.process import Worker
from tests.trust.child import run as train_undisturbed
from tests.trust.child import signature

LIFE = 0.6  # seconds


def take(pipe: connection.Connection, folder: str, seconds: float) -> None:
    """Takes the lease in a process of its own, says so, and leaves it after some seconds."""
    with leased(Path(folder), needed=True, life=LIFE):
        pipe.send_bytes(b'{"taken": true}')
        time.sleep(seconds)


@contextlib.contextmanager
def another_owner(folder: Path, seconds: float = 60.0) -> Iterator[int]:
    worker = Worker.start(take, str(folder), seconds)
    try:
        worker.receive()
        yield worker.process.pid
    finally:
        worker.kill()


def test_a_folder_of_one_host_has_no_lease(tmp_path: Path) -> None:
    with leased(tmp_path, needed=False) as check:
        check()
        assert not list(tmp_path.iterdir())


def test_a_lease_is_kept_for_longer_than_its_life(tmp_path: Path) -> None:
    with another_owner(tmp_path):
        for needed in (True, False):  # who needs none respects that of another
            with (
                pytest.raises(BusyError, match="is busy: held by pid"),
                leased(tmp_path, needed=needed, life=LIFE),
            ):
                pass
        time.sleep(2 * LIFE)
        with pytest.raises(BusyError), leased(tmp_path, needed=True, life=LIFE):
            pass


def test_a_lease_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        another_owner(tmp_path, seconds=1.0),
        leased(tmp_path, needed=True, wait=said.append, life=LIFE) as check,
    ):
        check()
    assert len(said) == 1
    assert not list(tmp_path.iterdir()), "it is given back"


def test_what_a_killed_owner_left_is_taken(tmp_path: Path) -> None:
    with another_owner(tmp_path) as owner:
        os.kill(owner, signal.SIGKILL)
    assert (tmp_path / "lease").exists()
    with leased(tmp_path, needed=False, life=LIFE) as check:
        check()


def test_the_owner_of_a_sweep_may_ask_for_its_lease_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a killed driver the next one takes what it left, and so does its engine, by another path."""
    monkeypatch.chdir(tmp_path.parent)
    with another_owner(tmp_path) as owner:
        os.kill(owner, signal.SIGKILL)
    with SweepStore(Path(tmp_path.name)).owned():
        with leased(tmp_path, needed=True) as check:
            check()
        assert (tmp_path / "lease").exists(), "the outer one still has it"
        check()
    assert not (tmp_path / "lease").exists()
    with leased(tmp_path, needed=True):
        assert (tmp_path / "lease").exists(), "it is taken anew"


@pytest.mark.parametrize("host", ["elsewhere", None])
def test_what_a_lost_host_left_is_taken_when_its_life_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    """Nobody here can know whether a process of another host lives; only its refreshes say so."""
    with another_owner(tmp_path) as owner:
        os.kill(owner, signal.SIGSTOP)
        if host:
            marker = tmp_path / "lease"
            content = marker.read_text()
            line = next(line for line in content.splitlines() if line.startswith("host="))
            marker.write_text(content.replace(line, f"host={host}"))
            assert is_leased_elsewhere(tmp_path)
            old = time.time() - 1000
            os.utime(marker, (old, old))
            assert not is_leased_elsewhere(tmp_path)
        before = time.monotonic()
        with leased(tmp_path, needed=True, life=LIFE):
            assert time.monotonic() - before >= LIFE / 2
        os.kill(owner, signal.SIGCONT)


def test_a_lease_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot take the lease"), leased(tmp_path / "file", needed=True):
        pass


def train_far(pipe: connection.Connection, folder: str, config: str) -> None:
    """Trains as a process of another host would: its flock is not that of this one."""
    run = RunConfig.model_validate_json(config)
    locks.locked = lambda path, wait=None: contextlib.nullcontext()  # type: ignore[assignment]
    store = SweepStore(Path(folder)).run(run.run_id)

    def tell(progress: object) -> None:
        if getattr(progress, "record", None) is not None:
            pipe.send_bytes(b'{"record": true}')
            time.sleep(0.05)

    def open_session(store: RunStore, config: RunConfig) -> contextlib.AbstractContextManager[Session]:
        return open_run(store, config, lease=True, life=LIFE)

    try:
        execute(run, store, ExecutionConfig(device="cpu"), report=tell, open_session=open_session)
        pipe.send_bytes(b'{"end": "finished"}')
    except BusyError as error:
        pipe.send_bytes(b'{"end": "%s"}' % type(error).__name__.encode())


@pytest.mark.slow
def test_an_owner_that_was_stopped_for_too_long_writes_nothing_more(tmp_path: Path, tiny_run) -> None:
    config = tiny_run(training={"epochs": 8})
    store = SweepStore(tmp_path / "sweep").run(config.run_id)
    late = Worker.start(train_far, str(tmp_path / "sweep"), config.model_dump_json())
    while len(store.metrics()) < 2:
        late.receive()
    os.kill(late.process.pid, signal.SIGSTOP)
    time.sleep(0.2)  # what it was writing is written
    other = Worker.start(train_far, str(tmp_path / "sweep"), config.model_dump_json())
    while "end" not in (message := other.receive()):
        pass
    assert message["end"] == "finished"
    written = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    os.kill(late.process.pid, signal.SIGCONT)
    with contextlib.suppress(LostError):
        while "end" not in (message := late.receive()):
            pass
    assert message["end"] == "BusyError"
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == written
    other.release()
    late.release()
    straight = SweepStore(tmp_path / "straight").run(config.run_id)
    straight.folder.mkdir(parents=True)
    train_undisturbed(straight, config)
    assert signature(store) == signature(straight)
