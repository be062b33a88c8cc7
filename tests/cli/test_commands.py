"""The commands as a user runs them: in a fresh folder, in a fresh process."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from resdeg.store import SweepStore
from tests.terminals import read_all

pytestmark = pytest.mark.slow


def sweep_tiny(resdeg, tiny_toml: Path, *more: object):
    return resdeg("sweep", tiny_toml, "--depths", "2,8", "--seeds", "0,1", "--out", "out", *more)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_main_road(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """sweep, the same again, plot, status: what is printed where, and what is on disk."""
    first = sweep_tiny(resdeg, tiny_toml)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "out/curve.png"
    for told in ("plan    6 runs", "recipe  demo: 2 epochs", "cost    about", "residual-d8-s1"):
        assert told in first.stderr
    out = tmp_path / "out"
    logs = {path: path.read_bytes() for path in out.rglob("metrics.jsonl")}
    assert len(logs) == 6
    again = sweep_tiny(resdeg, tiny_toml)
    assert "all 6 runs are finished: nothing to train" in again.stderr
    assert logs == {path: path.read_bytes() for path in out.rglob("metrics.jsonl")}

    runs = rows(out / "runs.csv")
    assert [(r["family"], r["depth"], r["seed"]) for r in runs] == [
        (family, depth, seed) for family in ("plain", "residual") for depth in "28" for seed in "01"
    ]
    assert runs[0]["run_id"] == runs[4]["run_id"], "depth 2 is one run, in both families"
    curve = rows(out / "curve.csv")
    assert list(curve[0]) == ["family", "depth", "metric", "seeds", "mean", "low", "high"]
    point = next(
        r for r in curve if (r["family"], r["depth"], r["metric"]) == ("plain", "8", "test_accuracy")
    )
    mine = [float(r["test_accuracy"]) for r in runs if (r["family"], r["depth"]) == ("plain", "8")]
    assert float(point["mean"]) == pytest.approx(sum(mine) / 2)

    assert resdeg("plot").stdout.strip() == "out/curve.png", "the last sweep is remembered"
    for name in ("a.svg", "b.pdf", "c.png"):
        for theme in ("light", "dark"):
            done = resdeg("plot", "out", "--kind", "training", "--out", name, "--theme", theme)
            assert done.returncode == 0, done.stderr
            assert (tmp_path / name).stat().st_size > 5_000
    status = resdeg("status", "out")
    assert status.returncode == 0
    assert status.stdout.startswith("out: 6 finished")
    assert json.loads(resdeg("status", "--json").stdout)["counts"] == {"finished": 6}

    train = resdeg("train", tiny_toml, "--family", "residual", "--depth", "14", "--out", "out")
    assert train.returncode == 0, train.stderr
    assert "7 finished" in resdeg("status", "out").stdout, "runs of the same settings join the curve"
    fresh = resdeg("train", tiny_toml, "--family", "residual", "--depth", "14", "--out", "out", "--fresh")
    assert fresh.returncode == 0
    assert len(list((out / "set-aside").iterdir())) == 1


def test_dry_run_prices_and_trains_nothing(resdeg, tmp_path: Path) -> None:
    """CIFAR-10 is not there, and a dry run does not need it."""
    done = resdeg("sweep", "--depths", "8,14", "--seeds", "0", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "plain-d14-s0-" in done.stdout
    assert "172,506" in done.stdout
    tree = json.loads(resdeg("sweep", "--depths", "8", "--seeds", "0", "--dry-run", "--json").stdout)
    assert [run["parameters"] for run in tree["runs"]] == [75_290, 75_290]
    # 3 x 2 x 12.24 M multiply-adds x (3906 x 128 images + a third of 10 x 20,000 and of 3 x 50,000)
    assert tree["runs"][0]["pflop"] == pytest.approx(0.0453, rel=0.005)
    assert not (tmp_path / "results").exists()


def test_the_time_limit_stops_cleanly_with_the_number_left(resdeg, tiny_toml, tmp_path: Path) -> None:
    done = resdeg(
        "sweep", tiny_toml, "--depths", "8", "--seeds", "0-2", "--epochs", "4000", "--jobs", "1",
        "--time-limit", "16s", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "time limit reached: 6 of 6 runs are left" in done.stderr


def test_snapshots_are_kept_by_the_workers(resdeg, tiny_toml, tmp_path: Path) -> None:
    grid = ["--depths", "2", "--seeds", "0", "--out", "out"]
    plain = json.loads(resdeg("sweep", tiny_toml, *grid, "--dry-run", "--json").stdout)["runs"][0]
    grid += ["--set", "execution.snapshots=3"]
    asked = json.loads(resdeg("sweep", tiny_toml, *grid, "--dry-run", "--json").stdout)["runs"][0]
    assert asked["bytes"] == plain["bytes"] + 4 * plain["parameters"], "of two epochs, the first"
    assert asked["run_id"] == plain["run_id"]
    assert resdeg("sweep", tiny_toml, *grid).returncode == 0
    store = SweepStore(tmp_path / "out").run(asked["run_id"])
    assert [step for step, _ in store.snapshots([])] == [8]


def test_a_failed_run_stops_no_other(resdeg, tiny_toml, tmp_path: Path) -> None:
    """One run's folder is made unusable; the others finish, and the code says so."""
    done = sweep_tiny(resdeg, tiny_toml, "--dry-run", "--json")
    victim = json.loads(done.stdout)["runs"][3]["run_id"]
    folder = tmp_path / "out" / "runs" / victim
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    done = sweep_tiny(resdeg, tiny_toml)
    assert done.returncode == 5
    assert f"{victim} failed: " in done.stderr
    assert "config.json: damaged" in done.stderr
    assert "5 finished" in resdeg("status", "out").stdout
    assert resdeg("plot", "out").returncode == 0


def test_divergence_is_a_result(resdeg, tiny_toml, tmp_path: Path) -> None:
    arguments = (
        "sweep", tiny_toml, "--depths", "8", "--families", "plain", "--seeds", "0", "--out", "out",
        "--set", "training.lr=1e9", "--set", "training.schedule=constant", "--set", "model.norm=none",
    )  # fmt: skip
    done = resdeg(*arguments)
    assert done.returncode == 0, done.stderr
    assert "diverged at epoch 1" in done.stderr
    assert "nothing to train" in resdeg(*arguments).stderr, "and is not tried again"
    assert "diverged at epoch 1" in resdeg("status", "out").stdout


def test_several_sweeps_of_one_schedule_and_none_of_another(resdeg, tiny_toml, tmp_path: Path) -> None:
    for name, more in (("a", ()), ("b", ("--set", "model.width=0.5")), ("c", ("--epochs", "1"))):
        done = resdeg("sweep", tiny_toml, "--depths", "8", "--seeds", "0", "--out", name, *more)
        assert done.returncode == 0, done.stderr
    assert resdeg("plot", "a", "b", "--out", "both.png").returncode == 0
    assert not (tmp_path / "curve.csv").exists()
    assert resdeg("plot", "a", "b").returncode == 0
    assert "sweep" in (tmp_path / "a" / "curve.csv").read_text().splitlines()[0]
    refused = resdeg("plot", "a", "c", "--out", "both.png")
    assert refused.returncode == 2
    assert "another schedule" in refused.stderr


def test_a_terminal_gets_a_bar_and_a_pipe_gets_none(tiny_toml, tmp_path: Path, resdeg) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", "sweep", tiny_toml, "--depths", "8", "--seeds", "0", "--out", "t"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=follower, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(follower)
    shown = read_all(leader)
    assert process.wait(30) == 0
    assert "\x1b[" in shown
    piped = resdeg("sweep", tiny_toml, "--depths", "8", "--seeds", "1", "--out", "t")
    assert "\x1b" not in piped.stderr + piped.stdout
    assert "\r" not in piped.stderr
    quiet = resdeg("--quiet", "sweep", tiny_toml, "--depths", "8", "--seeds", "2", "--out", "t")
    assert quiet.stderr == ""


@pytest.mark.cifar
def test_real_cifar_by_the_command_line(cifar_folder: Path, resdeg, tmp_path: Path) -> None:
    arguments = (
        "sweep", "--depths", "2", "--seeds", "0", "--steps", "3",
        "--data-dir", cifar_folder, "--set", "model.width=0.25",
    )  # fmt: skip
    done = resdeg(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "results/local/cifar10-short-width-0.25-steps-3/curve.png"
    assert "nothing to train" in resdeg(*arguments).stderr


@pytest.mark.slow
def test_the_stargan_configuration_on_generated_images(resdeg) -> None:
    """The notes' own unit, six units among the depths, in both families, drawn by both evaluations."""
    small = ["--set", "data.hierarchy.train_images=200", "--set", "data.hierarchy.test_images=50"]
    config = Path(__file__).parents[2] / "configs" / "stargan.toml"
    done = resdeg(
        "sweep", config, "--data", "hierarchy", *small, "--depths", "2,14", "--seeds", "0", "--steps", "3",
        "--out", "s",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(resdeg("plot", "s", "--json").stdout)
    assert told["evaluation"] == "image"
    assert {row["depth"] for row in told["curve"]} == {2, 14}
    assert {"image_test_accuracy", "test_accuracy"} <= {row["metric"] for row in told["curve"]}
    assert resdeg("plot", "s", "--evaluation", "running").returncode == 0
