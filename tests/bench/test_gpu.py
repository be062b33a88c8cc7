"""What `make gpu` writes, rehearsed on a CPU: within its time, in one folder, whatever becomes of a step."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from resdeg.bench import gpu
from resdeg.bench.gpu import Command, main, plan_commands, run_commands, select_commands
from resdeg.config import resolve
from resdeg.errors import UsageError

SLEEPS = ["-c", "import time; print('begun 1', flush=True); time.sleep(600)"]
# A process that leaves another one behind, which holds the log open and hears no SIGTERM.
LEAVES_A_CHILD = [
    "-c",
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal, time, os; "
    "signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)']); "
    "import time; time.sleep(600)",
]


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def parse(path: Path) -> object:
    """Reads a file by the kind that its name says."""
    match path.suffix:
        case ".png":
            return matplotlib.image.imread(path).max()
        case ".jsonl":
            return [strict(line) for line in path.read_text().splitlines()]
        case ".json":
            return strict(path.read_text())
        case ".csv":
            return list(csv.DictReader(io.StringIO(path.read_text())))
        case ".toml":
            return tomllib.loads(path.read_text())
        case ".log":
            return path.read_text()
    raise AssertionError(f"nobody knows how to read {path}")


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def named(summary: dict[str, Any]) -> dict[str, Any]:
    return {record["name"]: record for record in summary["commands"]}


@pytest.mark.slow
def test_the_rehearsal_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step but CIFAR-10, as `GPU_DEVICE=cpu make gpu` runs them; an earlier folder is moved aside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPU_DEVICE", "cpu")
    monkeypatch.delenv("RESDEG_DATA_DIR", raising=False)
    folder = tmp_path / "results" / "local" / "gpu-cpu"
    folder.mkdir(parents=True)
    (folder / "earlier").touch()
    assert main(["--minutes", "25"]) == 0
    assert [path.name for path in folder.with_name("gpu-cpu.1").iterdir()] == ["earlier"]
    summary = parse(folder / "summary.json")
    assert isinstance(summary, dict)
    outcomes = {name: record["outcome"] for name, record in named(summary).items()}
    assert outcomes.pop("he2015-2").startswith("not run: CIFAR-10 is not at hand: give --data-dir")
    assert outcomes == dict.fromkeys(
        ("tests", "bench-8", "figure-six", "sweep-on-card", "sweep-on-cpu"), "ended well"
    )
    assert summary["torch"]
    assert summary["sweep"]["cpu_over_card"] > 0
    paths = [path for path in folder.rglob("*") if path.is_file()]
    listed = {name for record in summary["commands"] for name in record["files"]}
    assert listed | {"summary.json"} == {str(path.relative_to(folder)) for path in paths}
    for path in paths:
        assert re.search(r"\d", str(parse(path))), f"{path} holds a number"
    bench = strict((folder / "bench-8.json").read_text())
    assert all(ratio["images_per_second"] > 0 for ratio in bench["depths"]["8"])
    assert {"on-card/curve.csv", "on-card/curve.png", "on-cpu/curve.csv"} <= listed
    assert sum(path.stat().st_size for path in paths) < 2_000_000
    assert list((tmp_path / "results" / "local" / "sweeps-cpu").rglob("*.safetensors")), (
        "weights stay outside"
    )
    assert not [name for name in listed if "checkpoint" in name or "lock" in name]


def test_a_step_that_fails_and_one_that_sleeps_are_survived(tmp_path: Path) -> None:
    commands = [
        Command("tests", "fails", ["-c", "print('one 1'); raise SystemExit(3)"]),
        Command("bench", "sleeps", SLEEPS, output="sleeps.json"),
        Command("sweep", "cannot", SLEEPS, missing="there is no floor"),
        Command("he2015", "works", ["-c", "print('{}')"], output="works.json"),
    ]
    start = time.monotonic()
    summary = run_commands(commands, tmp_path, seconds=10, facts={"card": "none"})
    assert time.monotonic() - start < 10 + gpu.GRACE
    assert summary == strict((tmp_path / "summary.json").read_text())
    fails, sleeps, cannot, works = summary["commands"]
    assert (fails["outcome"], fails["rc"], fails["files"]) == ("failed", 3, ["fails.log"])
    assert (sleeps["outcome"], sleeps["rc"]) == ("killed at its limit", -signal.SIGTERM)
    assert 4 <= sleeps["limit"] <= 5
    assert sleeps["limit"] <= sleeps["seconds"] < 10
    assert (tmp_path / "sleeps.json").read_text() == "begun 1\n", "what it has said is not lost"
    assert (cannot["outcome"], cannot["rc"]) == ("not run: there is no floor", None)
    assert (works["outcome"], works["rc"], works["files"]) == ("ended well", 0, ["works.json"])
    assert summary["sweep"] is None


def test_a_limit_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "GRACE", 0.5)
    run_commands([Command("tests", "leaves", LEAVES_A_CHILD)], tmp_path, seconds=15, facts={})
    child = int((tmp_path / "leaves.log").read_text())
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def test_only_some_steps_are_carried_out(tmp_path: Path) -> None:
    commands = plan_commands("cuda", None, sweeps=tmp_path)
    assert select_commands(commands, "") == commands
    assert [each.name for each in select_commands(commands, "sweep, bench-20")] == [
        "bench-20",
        "sweep-on-card",
        "sweep-on-cpu",
    ]
    with pytest.raises(UsageError, match="'bench-21' is no step and no command") as raised:
        select_commands(commands, "bench-21")
    assert "bench-20" in raised.value.remedy


def test_without_time_nothing_begins(tmp_path: Path) -> None:
    summary = run_commands([Command("tests", "sleeps", SLEEPS)], tmp_path, seconds=0.5, facts={})
    assert summary["commands"][0]["outcome"] == "not run: no time is left"


def test_a_signal_ends_the_children_and_the_summary_is_written(tmp_path: Path) -> None:
    """The program is told to stop while its first step runs."""
    script = f"""
import sys
from pathlib import Path
from resdeg.bench import gpu
gpu.describe_machine = lambda device: {{"card": "Some Card 7", "bf16": False}}
gpu.plan_commands = lambda device, data_dir, sweeps, precision: [
    gpu.Command("tests", "leaves", {LEAVES_A_CHILD!r}), gpu.Command("bench", "later", {SLEEPS!r}),
]
gpu.GRACE = 0.5
sys.exit(gpu.main(["--minutes", "5"]))
"""
    environment = {**os.environ, "PYTHONPATH": str(gpu.ROOT)}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment)
    folder = tmp_path / "results" / "local" / "gpu-some-card-7"
    log = folder / "leaves.log"
    try:
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
    summary = strict((folder / "summary.json").read_text())
    assert summary["signal"] == signal.SIGTERM
    outcomes = {name: record["outcome"] for name, record in named(summary).items()}
    assert outcomes == {"leaves": "killed at a signal", "later": "not run: a signal came"}
    deadline = time.monotonic() + 5
    while is_alive(int(log.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(log.read_text()))


def test_a_machine_without_a_card_is_told_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    assert main(["--device", "cuda"], results=tmp_path) == 2
    assert "GPU_DEVICE=cpu rehearses" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_runs_of_the_last_step_are_the_papers(tmp_path: Path) -> None:
    """Plain and residual 20 and 56 come first, and every run is one of configs/he2015.toml."""
    commands = plan_commands("cuda", tmp_path, sweeps=tmp_path / "sweeps")
    paper = resolve(gpu.ROOT / "configs" / "he2015.toml", {}, [], {})
    expected = {run.run_id for run in paper.runs() if run.seed == 0}
    asked: list[set[str]] = []
    for command in commands:
        if command.step == "he2015":
            words = list(command.arguments)
            value = dict(itertools.pairwise(words))
            given = {
                "data": {"name": value["--data"]}, "training": {"recipe": value["--recipe"]},
                "depths": value["--depths"], "seeds": value["--seeds"],
            }  # fmt: skip
            asked.append({run.run_id for run in resolve(None, {}, [], given).runs()})
            assert command.sweep == tmp_path / "sweeps" / "he2015"
    assert {run_id.rsplit("-", 2)[0] for run_id in asked[0]} == {
        f"{family}-d{depth}" for family in ("plain", "residual") for depth in (20, 56)
    }
    assert asked[0] < asked[1] < asked[2] == expected


@pytest.mark.slow
@pytest.mark.cifar
def test_the_rehearsal_of_the_last_step(tmp_path: Path, cifar_folder: Path) -> None:
    [*_, last] = plan_commands("cpu", cifar_folder, sweeps=tmp_path / "sweeps")
    summary = run_commands([last], tmp_path, seconds=600, facts={})
    assert summary["commands"][0]["outcome"] == "ended well"
    assert "he2015/curve.csv" in summary["commands"][0]["files"]
