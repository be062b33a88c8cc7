"""What every reading command has in common, the doctor, and the shell's completion."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from resdeg.cli.app import app
from resdeg.cli.console import screen
from tests.planted import CELLS, planted


def commands() -> dict[str, list[str]]:
    """Every command and its options, subcommands included."""
    found = {}

    def walk(command, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}".strip())
        else:
            found[path] = [option for parameter in command.params for option in parameter.opts]

    walk(get_command(app), "")
    return found


def test_every_reading_command_has_json() -> None:
    assert len(commands()) >= 9
    for name, options in commands().items():
        assert "--json" in options, name


def test_every_command_takes_the_options_of_the_output_behind_it() -> None:
    for name, options in commands().items():
        for option in ("--quiet", "-q", "--verbose", "-v", "--debug"):
            assert options.count(option) == 1, (name, option)


@pytest.mark.parametrize("arguments", [["status", "s"], ["plot", "s"], ["anchors", "s"], ["data", "path"]])
@pytest.mark.parametrize("option", ["-q", "--quiet", "-v", "--verbose", "--debug"])
def test_they_mean_the_same_before_and_behind(
    resdeg, tmp_path: Path, arguments: list[str], option: str
) -> None:
    planted(tmp_path / "s", CELLS)
    seen = []
    for line in ([option, *arguments], [*arguments, option], [arguments[0], option, *arguments[1:]]):
        resdeg(*line)
        seen.append((screen.quiet, screen.verbose, screen.debug))
        resdeg(*arguments)
        assert (screen.quiet, screen.verbose, screen.debug) == (False, False, False), "until the next command"
    assert seen == [("q" in option, "v" in option, "debug" in option)] * 3


def test_an_option_of_the_output_is_no_value_of_another_and_no_value_is_one(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    done = resdeg("plot", "s", "--out=-q.png", "-v")
    assert done.stdout.strip() == "-q.png"
    assert (screen.quiet, screen.verbose) == (False, True)
    assert resdeg("plot", "s", "--out", "--quiet.png").stdout.strip() == "--quiet.png"
    assert not screen.quiet
    resdeg("--quiet", "plot", "s", "-v")
    assert (screen.quiet, screen.verbose) == (True, True)
    refused = resdeg("plot", "s", "--quite")
    assert refused.returncode == 2
    assert "--quite" in refused.stderr


def test_status_shows_the_curve_on_request(resdeg, tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    bare, full = resdeg("status", "s").stdout, resdeg("status", "s", "--curve").stdout
    assert full.startswith(bare)
    assert "71.0 % (68.5 to 73.5)" in full
    assert "peak of the plain curve" in full
    assert re.findall(r"^C\d", full, re.MULTILINE) == ["C1", "C2", "C3", "C4"]
    tree = json.loads(resdeg("status", "s", "--curve", "--json").stdout)
    assert tree["counts"] == {"finished": 12}
    assert tree["curve"] == json.loads(resdeg("plot", "s", "--json").stdout)["curve"]
    for run_id in store.run_ids():
        shutil.rmtree(store.run(run_id).folder)
    done = resdeg("status", "s", "--curve")
    assert done.returncode == 0
    assert "no curve yet: s: no run has a record yet" in done.stderr
    assert json.loads(resdeg("status", "s", "--curve", "--json").stdout)["curve"] == []


def test_tables_of_runs_fit_a_terminal_of_eighty_columns(resdeg, tmp_path: Path) -> None:
    """Names of depth 110 are the longest that are usual, and their forecasts are hours."""
    longest = {(family, 110): [0.9123] for family in ("plain", "residual")}
    arms = {
        "arms": {"orthogonal": {"model": {"init": "orthogonal"}}},
        "of_arms": {"orthogonal": {"accuracy": longest}},
    }
    planted(tmp_path / "s", longest, training={"recipe": "he2015"}, **arms)
    planned = resdeg("sweep", "s", "--seeds", "10", "--dry-run", "--out", "new")
    for output in (resdeg("status", "s"), planned):
        table = output.stdout.splitlines()[-6:]
        assert table[0].startswith("run ")
        assert max(map(len, table)) <= 80, table


def test_status_loads_pandas_for_the_curve_only(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    script = (
        "import sys\nfrom resdeg.cli.app import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = {}
    for more in ([], ["--curve"]):
        done = subprocess.run(
            [sys.executable, "-c", script, "status", "s", *more],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        loaded[bool(more)] = {"torch", "matplotlib", "pandas", "scipy"} & {
            *done.stdout.splitlines()[-1].split()
        }
    assert loaded == {False: set(), True: {"pandas", "scipy"}}


def test_json_of_plot_and_status(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    told = json.loads(resdeg("plot", "s", "--json").stdout)
    assert told["figure"] == "s/curve.png"
    assert told["evaluation"] == "running"
    point = next(row for row in told["curve"] if (row["family"], row["depth"]) == ("residual", 20))
    assert point["mean"] == pytest.approx(0.81)
    assert json.loads(resdeg("status", "s", "--json").stdout)["counts"] == {"finished": 12}


def test_status_shows_a_clean_accuracy_of_nothing_and_a_running_one_where_there_is_none(
    resdeg, tmp_path: Path
) -> None:
    """A net may get no training image right; before the end there is the running accuracy alone."""
    store = planted(tmp_path / "s", {("plain", 8): [0.5, 0.5]}, trained={("plain", 8): [0.0, 0.0]})
    (line,) = (line for line in resdeg("status", "s").stdout.splitlines() if "-s0-" in line)
    assert "50.0 % 0.0 %" in " ".join(line.split())
    going_on = next(run_id for run_id in store.run_ids() if "-s1-" in run_id)
    (store.run(going_on).folder / "summary.json").unlink()
    rows = {row["run_id"]: row for row in json.loads(resdeg("status", "s", "--json").stdout)["rows"]}
    assert rows.pop(going_on)["train_accuracy"] == pytest.approx(0.48)
    assert [row["train_accuracy"] for row in rows.values()] == [0.0]


def test_the_doctor(resdeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESDEG_DATA_DIR", raising=False)
    done = resdeg("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("python", "torch", "devices", "cpu (fp32", "hierarchy", "built in", "free"):
        assert word in done.stdout
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(b"")
    told = json.loads(resdeg("doctor", "--json", "--data-dir", tmp_path).stdout)
    assert told["cifar10"] == f"{folder} (python)"
    assert "resdeg data fetch" not in told["cifar100"]


@pytest.mark.parametrize(
    ("device", "says"), [("gpu", "RESDEG_DEVICE: device 'gpu' is not known; write cuda"),
                         ("mps", "device mps is not on this machine; give --device cpu")],
)  # fmt: skip
def test_the_doctor_shows_a_device_that_cannot_be_chosen(
    resdeg, monkeypatch: pytest.MonkeyPatch, device: str, says: str
) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is on this machine")
    monkeypatch.setenv("RESDEG_DEVICE", device)
    done = resdeg("doctor", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["chosen"].startswith(says)
    assert "results" in facts, "the rest of the table is there"


def complete(line: str) -> list[str]:
    script = (
        "import sys, os\nfrom resdeg.cli.app import main\nimport atexit\n"
        "atexit.register(lambda: print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr))\n"
        "sys.argv = ['resdeg']\nmain()"
    )
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_RESDEG_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"torch", "pandas", "scipy", "matplotlib"}.isdisjoint(done.stderr.split()), "completion is instant"
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("resdeg da", ["data"]),
        ("resdeg data f", ["fetch"]),
        ("resdeg sweep --data cifar1", ["cifar10", "cifar100"]),
        ("resdeg sweep --recipe he2015-", ["he2015-warmup"]),
        ("resdeg plot --kind t", ["training"]),
        ("resdeg sweep --off", ["--offline"]),
    ],
)
def test_the_shell_completes(line: str, expected: list[str]) -> None:
    assert complete(line) == expected
