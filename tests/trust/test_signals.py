"""INT, TERM and HUP in every phase of a sweep: it stops where it is, and goes on with the same bits."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resdeg.config import RunConfig, resolve
from resdeg.store import SweepStore
from tests.trust.child import Told, run, signature
from tests.trust.more import MORE
from tests.trust.signalled import PHASES, WORKER_PHASES

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WHOM = ("command", "group")
TIMES = (1, 2)
HANG = 60.0  # seconds after which what should have stopped never will

ARGUMENTS = ("--depths", "8", "--families", "residual", "--seeds", "0", "--epochs", "3", "--out", "out")
GRID = {"depths": "8", "families": "residual", "seeds": "0", "training": {"epochs": 3}}


@pytest.fixture(scope="module", autouse=True)
def heard() -> Iterator[None]:
    """A suite that runs under nohup, or behind `&` in a script, hands its deafness on to what it starts."""
    deaf = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
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


def session_of(leader: int) -> list[str]:
    """Command lines of the session that `leader` began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session, *_ = entry.read_text().rpartition(")")[2].split()
            if int(session) == leader and state != "Z":
                found.append(entry.with_name("cmdline").read_text())
        except OSError:  # it is gone
            continue
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
        """Run the command to its end, after which no process of it may stay.

        What it left says whether it stopped at the signal. A clock would not: a machine that stalls cannot
        be told from a command that dawdles.
        """
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
            self.code = process.wait(2 * HANG)
        hangs = time.monotonic() + HANG
        self.said = told.read_text()
        assert sent.exists(), self.said
        assert "Traceback" not in self.said
        while (left := session_of(process.pid)) and time.monotonic() < hangs:
            time.sleep(0.02)
        assert not left

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


def cases(every: bool) -> list[tuple[str, str, int, signal.Signals]]:
    """Phase, to whom and how often; with `every` signal for each, or with the three in turn."""
    places = itertools.product(PHASES, WHOM, TIMES)
    return [
        (*place, number)
        for k, place in enumerate(places)
        for number in (SIGNALS if every else [SIGNALS[k % len(SIGNALS)]])
    ]


def test_the_cases_of_every_push_leave_no_combination_out() -> None:
    """What is left to `make trust` is each phase, signal, recipient and count at once."""
    drawn = cases(every=False)
    assert len(drawn) == 28 < len(cases(every=True)) == 84
    assert {case[:3] for case in drawn} == set(itertools.product(PHASES, WHOM, TIMES))
    assert {(case[0], case[3]) for case in drawn} == set(itertools.product(PHASES, SIGNALS))
    assert {case[1:] for case in drawn} == set(itertools.product(WHOM, TIMES, SIGNALS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "whom", "times", "number"), cases(every=MORE > 1), ids=lambda part: getattr(part, "name", None)
)
def test_a_signal_in_every_phase(
    case: Case, straight, phase: str, whom: str, times: int, number: signal.Signals
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
    if phase == "training":
        assert case.store.state() == "stopped", "the worker did not go on to the end of the run"
    again = case.go_on(straight)
    if phase == "training":
        assert (again.begun or 0) >= 12


@pytest.mark.slow
def test_nohup_is_respected(case: Case, straight) -> None:
    """A signal that was ignored when the command started changes nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a child inherits
    try:
        case.go("training", signal.SIGHUP, whom="group")  # it goes on to its end
    finally:
        signal.signal(signal.SIGHUP, before)
    assert case.code == 0, case.said
    assert case.store.state() == "finished"
    assert signature(case.store) == reference(straight, case.config, case.place / "straight")


@pytest.mark.slow
def test_a_signal_while_a_net_is_measured(tiny_toml: Path, tmp_path: Path) -> None:
    """In the second state: what was measured whole stays, no worker does; the same command does the rest."""
    config = resolve(tiny_toml, {}, [], GRID)
    (of,) = config.runs()
    straight = SweepStore(tmp_path / "straight").run(of.run_id)
    straight.folder.mkdir(parents=True)
    (tmp_path / "straight" / "sweep.toml").write_text(config.to_toml())
    run(straight, of)
    told = tmp_path / "told.txt"

    def diagnose(name: str, *how: str) -> subprocess.Popen[bytes]:
        with told.open("wb") as stream:
            return subprocess.Popen(
                [sys.executable, *how, "diagnose", name, "--images", "40"],
                cwd=tmp_path, stdout=stream, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )  # fmt: skip

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    for number in numbers:
        shutil.copytree(tmp_path / "straight", tmp_path / number.name)
    assert diagnose("straight", "-m", "resdeg").wait(120) == 0
    whole = (straight.folder / "diagnostics.jsonl").read_bytes()
    for number in numbers:
        store, there = SweepStore(tmp_path / number.name).run(of.run_id), tmp_path / f"{number.name}.pid"
        process = diagnose(number.name, "-m", "tests.trust.endless", str(there))
        while not there.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        code = process.wait(HANG)
        assert code == (-number if number == signal.SIGKILL else 128 + number), told.read_text()
        hangs, worker = time.monotonic() + HANG, Path(f"/proc/{there.read_text()}")
        while worker.exists() and time.monotonic() < hangs:
            time.sleep(0.05)
        assert not worker.exists(), number
        assert "Traceback" not in told.read_text()
        assert whole.startswith((store.folder / "diagnostics.jsonl").read_bytes())
        last = store.diagnostics()[-1]
        assert (last.kind, last.state) == ("responses", "final"), "and what was under way left nothing"
    assert diagnose(number.name, "-m", "resdeg").wait(120) == 0
    assert (store.folder / "diagnostics.jsonl").read_bytes() == whole
    assert not list(store.folder.rglob("*.tmp-*"))
