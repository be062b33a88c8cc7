"""INT, TERM and HUP in every phase of a sweep: it stops in seconds, and goes on with the same bits."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resdeg.config import RunConfig
from resdeg.store import SweepStore
from resdeg.sweep.plan import resolve
from tests.trust.child import run, signature
from tests.trust.signalled import PHASES, WORKER_PHASES

ARGUMENTS = ("--depths", "8", "--families", "residual", "--seeds", "0", "--epochs", "3", "--out", "out")
GRID = {"depths": "8", "families": "residual", "seeds": "0", "training": {"epochs": 3}}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> dict[str, tuple[str, bytes]]:
    """Signatures of the runs that nothing happened to."""
    return {}


def reference(straight: dict[str, tuple[str, bytes]], config: RunConfig, folder: Path) -> tuple[str, bytes]:
    if config.run_id not in straight:
        store = SweepStore(folder).run(config.run_id)
        store.folder.mkdir(parents=True)
        run(store, config)
        straight[config.run_id] = signature(store)
    return straight[config.run_id]


def session_of(leader: int) -> list[int]:
    """Processes of the session that `leader` began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session, *_ = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(entry.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("whom", ["command", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_in_every_phase(
    straight, tiny_toml: Path, tmp_path: Path, phase: str, number: signal.Signals, whom: str, times: int
) -> None:
    """To the command alone, or into a pipe and to all of it, as Ctrl-C on a terminal does it."""
    config = resolve(tiny_toml, {}, [], GRID).runs()[0]
    sent = tmp_path / "sent"
    driver = [sys.executable, "-m", "tests.trust.signalled", phase, str(int(number)), str(times), whom]
    command = [*driver, str(sent), "sweep", str(tiny_toml), *ARGUMENTS]
    if whom == "group":  # the shell waits for the pipe, whose reader dies of the signal
        piped = f"trap : INT TERM HUP; {shlex.join(command)} 2>&1 | cat; exit ${{PIPESTATUS[0]}}"
        command = ["bash", "-c", piped]
    with (tmp_path / "told.txt").open("wb") as told:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = process.wait(60)
    stopped = time.monotonic()
    said = (tmp_path / "told.txt").read_text()
    assert sent.exists(), said
    assert code == 128 + number, said
    assert stopped - float(sent.read_text()) < 10
    while session_of(process.pid) and time.monotonic() < stopped + 2:
        time.sleep(0.02)
    left = [Path(f"/proc/{pid}/cmdline").read_text() for pid in session_of(process.pid)]
    assert left == [], "no orphan after two seconds"
    assert "Traceback" not in said
    store = SweepStore(tmp_path / "out").run(config.run_id)
    if phase in WORKER_PHASES and times == 1 and whom == "command":
        assert store.state() == "stopped"
        assert "stopped: 1 of 1 runs are left. Go on with: resdeg sweep" in said
    elif phase in WORKER_PHASES:  # a worker may die before it has begun, or anywhere of the second signal
        assert store.state() in ("stopped", "interrupted", "missing")
    store.folder.mkdir(parents=True, exist_ok=True)
    again = run(store, config)
    assert (again.exitcode, again.status) == (0, "finished")
    assert signature(store) == reference(straight, config, tmp_path / "straight")
    if phase == "training":
        assert (again.begun or 0) >= (12 if times == 1 else 8)
