"""`resdeg.sweep(...)`: it trains, goes on, stops cleanly, and says what failed."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import resdeg
from resdeg.errors import BusyError, ResdegError, UsageError
from resdeg.records import Progress
from resdeg.store import RunStore, SweepStore
from resdeg.sweep.conduct import Begun, Event, NothingToTrain, Over
from resdeg.sweep.engine import Ended
from tests.sweep.test_process import is_alive, wait_for

GRID = {"depths": [2, 8], "seeds": [0]}


def files_of(folder: Path) -> dict[str, bytes]:
    return {f"{path}": path.read_bytes() for path in sorted(folder.rglob("metrics.jsonl"))}


def test_it_is_the_package_too_however_it_is_reached() -> None:
    import resdeg.sweep.plan

    assert resdeg.sweep is sys.modules["resdeg.sweep"]
    assert callable(resdeg.sweep)
    assert {"depths", "settings", "progress"} <= set(inspect.signature(resdeg.sweep).parameters)


@pytest.mark.slow
def test_it_trains_and_goes_on_and_prints_nothing(tiny_toml: Path, tmp_path: Path, capfd) -> None:
    events: list[Event] = []
    sweep = resdeg.sweep(config=tiny_toml, **GRID, out=tmp_path / "out", progress=events.append)
    assert sweep.folder == tmp_path / "out"
    assert list(sweep.runs["status"]) == ["finished"] * 4, "depth 2 is a row in each family"
    assert [type(event) for event in events if not isinstance(event, Progress)] == [Begun, *[Ended] * 3, Over]
    assert sweep.curve.equals(resdeg.load(tmp_path / "out").curve)
    trained, events[:] = files_of(tmp_path), []
    more = resdeg.sweep(config=str(tiny_toml), depths="2,8", seeds=range(2), out=str(tmp_path / "out"))
    assert len(more.runs) == 8
    assert trained.items() <= files_of(tmp_path).items(), "no finished network is trained twice"
    resdeg.sweep(config=tiny_toml, **GRID, out=tmp_path / "out", progress=events.append)
    assert [type(event) for event in events] == [NothingToTrain, Over]
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_its_settings_are_those_of_the_command(
    request: pytest.FixtureRequest, tiny_toml: Path, tmp_path: Path
) -> None:
    options = ["--depths", "8", "--families", "plain", "--seeds", "0", "--steps", "3"]
    command = request.getfixturevalue("resdeg")  # whose name the package has here
    done = command("sweep", tiny_toml, *options, "--set", "training.lr=0.03", "--out", "command")
    assert done.returncode == 0, done.stderr
    resdeg.sweep(
        config=tiny_toml, depths=8, families=["plain"], seeds=0, steps=3, settings={"training.lr": 0.03},
        jobs=1, out=tmp_path / "python",
    )  # fmt: skip
    commanded, python = (SweepStore(tmp_path / name) for name in ("command", "python"))
    assert commanded.run_ids() == python.run_ids()
    assert commanded.plan.read_bytes() == python.plan.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"depths": [9]}, r"^resdeg.sweep: depth=9 is not 6n\+2"),
        ({"settings": {"training.lrr": 1}}, "unknown key 'training.lrr'\ndid you mean 'training.lr'"),
        ({"epochs": 1, "steps": 2}, "two ways to give the length"),
        ({"jobs": "many"}, "jobs = many"),
        ({"time_limit": "soon"}, "not a time"),
    ],
)
def test_what_is_wrong_is_said(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        resdeg.sweep(data="hierarchy", out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


class Interrupting:
    """Sends SIGINT to this process at each of the next `times` events of a run that steps."""

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def __call__(self, event: Event) -> None:
        if self.times and isinstance(event, Progress) and event.step >= 5:
            self.times -= 1
            os.kill(os.getpid(), signal.SIGINT)


def run_of(folder: Path) -> RunStore:
    store = SweepStore(folder)
    (run_id,) = store.run_ids()
    return store.run(run_id)


@pytest.mark.slow
def test_an_interrupt_saves_and_is_raised_and_the_next_call_goes_on(tiny_toml: Path, tmp_path: Path) -> None:
    arguments = {"config": tiny_toml, "depths": 8, "families": "residual", "seeds": 0, "epochs": 40}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        resdeg.sweep(**arguments, out=tmp_path / "out", progress=Interrupting())
    assert signal.getsignal(signal.SIGINT) is before
    stopped = run_of(tmp_path / "out")
    assert stopped.state() == "stopped"
    checkpoint = stopped.checkpoint()
    assert checkpoint is not None
    assert checkpoint[0].step >= 5
    resdeg.sweep(**arguments, out=tmp_path / "out")
    resdeg.sweep(**arguments, out=tmp_path / "straight")
    straight = run_of(tmp_path / "straight")
    for name in ("metrics.jsonl", "config.json"):
        assert (stopped.folder / name).read_bytes() == (straight.folder / name).read_bytes()
    assert len(stopped.environment().segments) == 2


@pytest.mark.slow
def test_a_second_interrupt_leaves_at_once(tiny_toml: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        resdeg.sweep(
            config=tiny_toml, depths=8, seeds=0, epochs=400, out=tmp_path / "out", progress=Interrupting(2)
        )
    with SweepStore(tmp_path / "out").owned():
        for run_id in SweepStore(tmp_path / "out").run_ids():
            assert SweepStore(tmp_path / "out").run(run_id).state() != "running"


@pytest.mark.slow
def test_an_exception_of_the_caller_leaves_no_worker(tiny_toml: Path, tmp_path: Path) -> None:
    def stumble(event: Event) -> None:
        if isinstance(event, Progress):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        resdeg.sweep(config=tiny_toml, depths=8, epochs=400, out=tmp_path / "out", progress=stumble)
    for run_id in SweepStore(tmp_path / "out").run_ids():
        assert SweepStore(tmp_path / "out").run(run_id).state() != "running"


@pytest.mark.slow
def test_a_failed_run_is_named_when_the_others_are_done(tiny_toml: Path, tmp_path: Path) -> None:
    arguments = {"config": tiny_toml, "depths": [8], "families": "plain", "out": tmp_path / "out"}
    resdeg.sweep(**arguments, seeds=0)
    victim = run_of(tmp_path / "out").folder
    (victim / "config.json").write_text("{}")
    (victim / "summary.json").unlink()
    with pytest.raises(
        ResdegError, match=r"(?s)^1 of 2 runs failed: .*config.json: damaged.*same call without fresh"
    ) as failed:
        resdeg.sweep(**arguments, seeds=[0, 1])
    assert victim.name in failed.value.what
    others = [run_id for run_id in SweepStore(tmp_path / "out").run_ids() if run_id != victim.name]
    assert [SweepStore(tmp_path / "out").run(run_id).state() for run_id in others] == ["finished"]


@pytest.mark.slow
def test_a_time_limit_and_another_owner(tiny_toml: Path, tmp_path: Path) -> None:
    for limit in (1, "1s"):
        with pytest.raises(UsageError, match="no run has a record yet"):
            resdeg.sweep(config=tiny_toml, **GRID, out=tmp_path / "out", time_limit=limit)
    assert (tmp_path / "out" / "sweep.toml").is_file()
    with SweepStore(tmp_path / "out").owned(), pytest.raises(BusyError):
        resdeg.sweep(config=tiny_toml, **GRID, out=tmp_path / "out")


@pytest.mark.slow
def test_it_works_in_a_thread(tiny_toml: Path, tmp_path: Path) -> None:
    """Which hears no signals, and must not try to."""
    sweeps: list[Any] = []
    options = {"config": tiny_toml, "depths": 2, "seeds": 0, "out": tmp_path / "out"}
    thread = threading.Thread(target=lambda: sweeps.append(resdeg.sweep(**options)))
    thread.start()
    thread.join()
    assert list(sweeps[0].runs["status"]) == ["finished"] * 2


SCRIPT = """
import os
import sys
import resdeg

print("begun", os.getpid(), flush=True)
sweep = resdeg.sweep(config=sys.argv[1], depths=8, seeds=0, epochs=int(sys.argv[2]), out=sys.argv[3])
print(list(sweep.runs["status"]), "torch" in sys.modules)
"""


@pytest.mark.slow
def test_a_script_needs_no_guard(tiny_toml: Path, tmp_path: Path) -> None:
    """No worker runs it again, whether it ends by itself or by a signal, which it is handed on to."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def start(epochs: int, out: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, script, tiny_toml, str(epochs), out],
            cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    process = start(1, "short")
    out, err = process.communicate(timeout=120)
    assert out.splitlines() == [f"begun {process.pid}", "['finished', 'finished'] False"]
    assert err == ""
    process = start(4000, "long")
    store = SweepStore(tmp_path / "long")
    assert wait_for(lambda: any(store.run(run_id).state() == "running" for run_id in store.run_ids()))
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out.count("begun"), err) == (-signal.SIGTERM, 1, "")
    assert not is_alive(process.pid)
    assert "running" not in [store.run(run_id).state() for run_id in store.run_ids()]
