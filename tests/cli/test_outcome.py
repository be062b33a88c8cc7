"""The end of a sweep: what people see on stdout, and the one JSON document for programs."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resdeg.cli.console import emit_json
from tests.terminals import CONTROL, open_terminal, read_all

pytestmark = pytest.mark.slow
FIELDS = ["run_id", "family", "depth", "seed", "arm", "state", "step", "steps"]


def sweep(tiny_toml: Path, *more: object) -> tuple[object, ...]:
    return ("sweep", tiny_toml, "--depths", "8", "--seeds", "0,1", "--out", "s", *more)


def read_strictly(text: str) -> dict:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_sweep_ends_with_table_curve_peak_verdicts_and_path(resdeg, tiny_toml: Path) -> None:
    done = resdeg(*sweep(tiny_toml))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    order = [
        next(number for number, line in enumerate(lines) if re.match(pattern, line))
        for pattern in (
            "Test accuracy on",
            "depth ",
            " +8 ",
            ".*│",
            "peak of the plain",
            "C1 ",
            "C4 ",
            "s/curve.png",
        )
    ]
    assert order == sorted(order)
    assert order[-1] == len(lines) - 1
    assert resdeg(*sweep(tiny_toml), "--quiet").stdout == "s/curve.png\n", "for `$(resdeg sweep -q ...)`"


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_its_end_fits(tiny_toml: Path, tmp_path: Path, columns: int, colour: bool) -> None:
    """stdout is a terminal, stderr none, so that only the end of the sweep is there."""
    leader, follower = open_terminal(columns)
    dropped = {"COLUMNS", "NO_COLOR", "JPY_PARENT_PID", "MPLBACKEND"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment |= {"TERM": "xterm", "PYTHONUTF8": "1"} | ({} if colour else {"NO_COLOR": "1"})
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", *map(str, sweep(tiny_toml, "--steps", "2"))],
        cwd=tmp_path, stdout=follower, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    os.close(follower)
    shown = read_all(leader)
    assert process.wait(60) == 0
    assert ("\x1b[33mo\x1b[0m plain" in shown) == colour
    assert ("\x1b" in shown) == colour
    assert max(map(len, CONTROL.sub("", shown).splitlines())) < columns


def test_json_has_the_runs_and_their_final_state_and_nothing_else_is_on_stdout(
    resdeg, tiny_toml: Path
) -> None:
    done = resdeg(*sweep(tiny_toml), "--json")
    assert done.returncode == 0, done.stderr
    tree = read_strictly(done.stdout)
    assert {key: tree[key] for key in tree if key != "runs"} == {
        "folder": "s", "left": 0, "failed": 0, "stopped": None, "figure": "s/curve.png", "problems": [],
    }  # fmt: skip
    assert [(run["family"], run["depth"], run["seed"]) for run in tree["runs"]] == [
        (family, 8, seed) for seed in (0, 1) for family in ("plain", "residual")
    ]
    for run in tree["runs"]:
        assert list(run)[:8] == FIELDS
        assert run["state"] == "finished"
        assert 0 <= run["test_accuracy"] <= 1
    again = read_strictly(resdeg(*sweep(tiny_toml), "--json").stdout)
    assert again == tree, "nothing is left to train, and the document is the same"
    train = resdeg("train", tiny_toml, "--family", "residual", "--depth", "14", "--out", "s", "--json")
    (run,) = read_strictly(train.stdout)["runs"]
    assert (run["family"], run["depth"], run["seed"], run["state"]) == ("residual", 14, 0, "finished")
    dry = read_strictly(resdeg(*sweep(tiny_toml), "--json", "--dry-run").stdout)
    assert {run["state"] for run in dry["runs"]} == {"finished"}
    assert [run["run_id"] for run in dry["runs"]] == [run["run_id"] for run in tree["runs"]]


def test_json_of_failed_and_of_diverged_runs(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    victim = read_strictly(resdeg(*sweep(tiny_toml), "--dry-run", "--json").stdout)["runs"][3]["run_id"]
    folder = tmp_path / "s" / "runs" / victim
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    done = resdeg(*sweep(tiny_toml), "--json")
    assert done.returncode == 5
    tree = read_strictly(done.stdout)
    assert (tree["failed"], tree["left"], tree["figure"]) == (1, 0, "s/curve.png")
    states = {run["run_id"]: run["state"] for run in tree["runs"]}
    assert states.pop(victim) == "failed"
    assert {*states.values()} == {"finished"}
    assert "config.json: damaged" in next(run["reason"] for run in tree["runs"] if run["run_id"] == victim)
    wild = ("--set", "training.lr=1e9", "--set", "training.schedule=constant", "--set", "model.norm=none")
    done = resdeg("sweep", tiny_toml, "--depths", "8", "--seeds", "0", "--out", "d", *wild, "--json")
    assert done.returncode == 0, done.stderr
    assert {run["state"] for run in read_strictly(done.stdout)["runs"]} == {"diverged"}


def test_json_at_a_time_limit(resdeg, tiny_toml: Path) -> None:
    done = resdeg(*sweep(tiny_toml), "--fresh", "--epochs", "4000", "--time-limit", "1s", "--json")
    assert done.returncode == 0, done.stderr
    tree = read_strictly(done.stdout)
    assert (tree["stopped"], tree["left"], len(tree["runs"])) == ("time limit", 4, 4)
    assert not {run["state"] for run in tree["runs"]} & {"finished", "failed"}
    assert "time limit reached" in done.stderr
    (command,) = re.findall("Go on with: (.*)", done.stderr)
    assert command.endswith(" --out s --epochs 4000 --time-limit 1s --json"), "--fresh would train all anew"


def test_json_after_ctrl_c(tiny_toml: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", "-v", *map(str, sweep(tiny_toml, "--epochs", "4000", "--json"))],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if " epoch 1: " in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    tree = read_strictly(out)
    assert (tree["stopped"], tree["left"], tree["figure"]) == ("signal 2", 4, None)
    assert "stopped" in {run["state"] for run in tree["runs"]}
    assert "Go on with: " in err


def test_a_command_that_is_refused_prints_no_document(resdeg, tiny_toml: Path) -> None:
    done = resdeg("sweep", tiny_toml, "--depths", "9", "--json")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_number_that_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": (0.5, True, None, "NaN")})
    assert read_strictly(capsys.readouterr().out) == {
        "a": None, "b": [None, {"c": None}], "d": [0.5, True, None, "NaN"],
    }  # fmt: skip
