"""INT, TERM and HUP in every phase of a sweep: it stops in seconds, and goes on with the same bits."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resdeg.config import RunConfig
from resdeg.store import SweepStore
from resdeg.sweep.plan import resolve
from tests.trust.child import Told, run, signature
from tests.trust.signalled import PHASES, WORKER_PHASES

ARGUMENTS = ("--depths", "8", "--families", "residual", "--seeds", "0", "--epochs", "3", "--out", "out")
GRID = {"depths": "8", "families": "residual", "seeds": "0", "training": {"epochs": 3}}


@pytest.fixture(scope="module", autouse=True)
def heard() -> Iterator[None]:
    """A suite that runs under nohup, or behind `&` in a script, hands its deafness on to what it starts."""
    deaf = [
        n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_IGN
    ]
    for number in deaf:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in deaf:
        signal.signal(number, signal.SIG_IGN)


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


class Case:
    """A sweep of one run that gets a signal, and what is left of it."""

    def __init__(self, tiny_toml: Path, place: Path) -> None:
        self.toml, self.place = tiny_toml, place
        self.config = resolve(tiny_toml, {}, [], GRID).runs()[0]
        self.store = SweepStore(place / "out").run(self.config.run_id)
        self.code = 0
        self.said = ""

    def go(self, phase: str, number: int, times: int = 1, whom: str = "command") -> None:
        """Run the command to its end, which must come soon and leave no process."""
        sent, told = self.place / "sent", self.place / "told.txt"
        driver = [sys.executable, "-m", "tests.trust.signalled", phase, str(int(number)), str(times), whom]
        command = [*driver, str(sent), "sweep", str(self.toml), *ARGUMENTS]
        if whom == "group":  # the shell waits for the pipe, whose reader dies of the signal
            piped = f"trap : INT TERM HUP; {shlex.join(command)} 2>&1 | cat; exit ${{PIPESTATUS[0]}}"
            command = ["bash", "-c", piped]
        with told.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=self.place,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.code = process.wait(60)
        stopped = time.monotonic()
        self.said = told.read_text()
        assert sent.exists(), self.said
        assert stopped - float(sent.read_text()) < 10
        while session_of(process.pid) and time.monotonic() < stopped + 2:
            time.sleep(0.02)
        left = [Path(f"/proc/{pid}/cmdline").read_text() for pid in session_of(process.pid)]
        assert left == [], "no orphan after two seconds"
        assert "Traceback" not in self.said

    def go_on(self, straight: dict[str, tuple[str, bytes]]) -> Told:
        """Train the run to its end: with the bits of the one that nothing happened to."""
        self.store.folder.mkdir(parents=True, exist_ok=True)
        again = run(self.store, self.config)
        assert (again.exitcode, again.status) == (0, "finished")
        assert signature(self.store) == reference(straight, self.config, self.place / "straight")
        return again


@pytest.fixture
def case(tiny_toml: Path, tmp_path: Path) -> Case:
    return Case(tiny_toml, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("whom", ["command", "group"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_in_every_phase(
    case: Case, straight, phase: str, number: signal.Signals, whom: str, times: int
) -> None:
    """To the command alone, or into a pipe and to all of it, as Ctrl-C on a terminal does it."""
    case.go(phase, number, times, whom)
    assert case.code == 128 + number, case.said
    if phase in WORKER_PHASES[1:] and times == 1 and whom == "command":
        assert case.store.state() == "stopped"
        assert "stopped: 1 of 1 runs are left. Go on with: resdeg sweep" in case.said
    elif phase in WORKER_PHASES[1:]:  # a second signal, and one to a worker before it listens, kill
        assert case.store.state() in ("stopped", "interrupted", "missing")
    again = case.go_on(straight)
    if phase == "training":
        assert (again.begun or 0) >= (12 if times == 1 else 8)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_command_leaves_no_orphan(case: Case, straight, phase: str) -> None:
    """Its workers save and go; nothing is lost, not even the last step."""
    case.go(phase, signal.SIGKILL)
    assert case.code == -signal.SIGKILL
    again = case.go_on(straight)
    if phase == "training":
        assert (again.begun or 0) >= 12


@pytest.mark.slow
def test_nohup_is_respected(case: Case, straight) -> None:
    """A signal that was ignored when the command started changes nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a child inherits
    try:
        case.go("training", signal.SIGHUP, whom="group")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert case.code == 0, case.said
    assert case.store.state() == "finished"
    assert signature(case.store) == reference(straight, case.config, case.place / "straight")
