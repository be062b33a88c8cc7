"""One question to a worker: its answer, its error, its death, and a signal to whoever asked."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resdeg.bench.running import has_bf16
from resdeg.config import SweepConfig, resolve
from resdeg.errors import LostError, StorageError, UsageError
from resdeg.sweep.preflight import ask_preflight
from resdeg.sweep.workers.process import ask, call
from tests.sweep.stand_ins import check_and_wait, die, echo, kill_itself, name_itself_and_wait, refuse

pytestmark = pytest.mark.slow
HANG = 60.0  # seconds after which what should have ended never will


def wait_for(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + HANG
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def tiny(**more: object) -> SweepConfig:
    rules = {"levels": 2, "cell": 2, "symbols": 6, "synonyms": 2, "train_images": 200, "test_images": 50}
    return resolve(
        None, {}, [],
        {"depths": "8", "seeds": "0", "data": {"name": "hierarchy", "hierarchy": rules}, **more},
    )  # fmt: skip


def test_the_answer_and_the_error_of_a_worker_come_back() -> None:
    assert call(echo, 1, "two", [3.5, None]) == [1, "two", [3.5, None]]
    with pytest.raises(StorageError, match="no space") as refused:
        call(refuse)
    assert refused.value.remedy == "make some"


def test_a_worker_that_dies_is_lost_and_the_error_says_how() -> None:
    with pytest.raises(LostError, match=r"^its worker died \(exit code 7\)$"):
        call(die)
    with pytest.raises(
        LostError, match=r"^the probe died \(signal 9, perhaps for want of memory\)\ntry"
    ) as lost:
        call(kill_itself, subject="the probe", remedy="try again")
    assert lost.value.remedy == "try again"
    with pytest.raises(LostError, match=r"^the check before the sweep died \(exit code 7\)$"):
        ask_preflight(tiny(), read_data=False, entry=die)


def test_bf16_is_asked_of_a_device_that_is_there() -> None:
    assert has_bf16("cpu") in (True, False)
    if sys.platform == "linux":
        with pytest.raises(UsageError, match="device mps is not on this machine"):
            has_bf16("mps")


def test_an_exception_where_the_answer_is_waited_for_kills_the_worker(tmp_path: Path) -> None:
    """As a signal raises one."""
    path = tmp_path / "pid"

    def interrupt() -> None:
        if wait_for(path.exists):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        call(name_itself_and_wait, str(path))
    assert not is_alive(int(path.read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_preflight_ends_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "pid"
    entry = functools.partial(check_and_wait, read_data=False, path=str(path))
    worker = ask(entry, tiny().model_dump_json())
    assert wait_for(path.exists)
    os.kill(worker.process.pid, number)
    worker.process.join(HANG)
    assert worker.process.exitcode == 128 + number
    worker.kill()


SCRIPT = """
import sys
from resdeg.sweep.workers.process import call
from tests.sweep.stand_ins import name_itself_and_wait
call(name_itself_and_wait, sys.argv[1])
"""


def test_a_worker_ends_with_whoever_asked(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], cwd=Path(__file__).parents[2])
    assert wait_for(path.exists)
    process.kill()
    process.wait()
    pid = int(path.read_text())
    assert wait_for(lambda: not is_alive(pid))


def test_ctrl_c_does_not_reach_the_server_while_it_imports() -> None:
    """In a notebook its traceback would stand in the cell, and no worker would start any more."""
    script = """
import os, signal
from multiprocessing import forkserver
from resdeg.sweep.workers.launch import start_server
from resdeg.sweep.workers.process import call
from tests.sweep.stand_ins import echo
start_server()
os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
print(call(echo, "alive"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG, check=False
    )
    assert "KeyboardInterrupt" not in done.stderr
    assert "alive" in done.stdout
