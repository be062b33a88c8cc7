"""One folder, one experiment: other settings never replace what is there, and a sweep goes on where it is."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest

import resdeg as package
from resdeg.errors import UsageError
from resdeg.store import SweepStore
from tests.planted import unregister

ROOT = Path(__file__).parents[2]
SMALL = ("--depths", "8", "--families", "plain", "--seeds", "0", "--steps", "2")
ARM = ("--set", "arms.wide.model.width=0.5")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plan(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "sweep.toml").read_text())


@pytest.fixture
def swept(resdeg, tiny_toml: Path, tmp_path: Path) -> Path:
    done = resdeg("sweep", tiny_toml, *SMALL, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert resdeg("report", "out").returncode == 0
    return tmp_path / "out"


def test_each_setting_gets_its_folder_and_the_last_is_drawn(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    for more, name in (
        ((), "tiny-steps-2"),
        (("--set", "training.lr=0.02"), "tiny-steps-2-lr-0.02"),
        (("--precision", "fp32", "--set", "claims.depth=8", "--depths", "2,8,14"), "tiny-steps-2"),
    ):
        done = resdeg("sweep", tiny_toml, *SMALL, *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == f"results/local/{name}/curve.png"
        assert resdeg("plot").stdout == f"results/local/{name}/curve.png\n"


@pytest.mark.parametrize("command", ["sweep", "sweep --fresh", "sweep --dry-run", "train", "resdeg.sweep"])
def test_other_settings_are_refused_before_anything_is_written(
    resdeg, swept: Path, tiny_toml: Path, tmp_path: Path, command: str
) -> None:
    before, folders = contents(swept), sorted(os.listdir(tmp_path))
    says = ("out holds a sweep of other settings: training.lr is 0.1 there and 0.02 here", "out-lr-0.02")
    if command == "resdeg.sweep":
        with pytest.raises(UsageError) as refused:
            package.sweep(config=tiny_toml, depths=8, steps=2, settings={"training.lr": 0.02}, out=swept)
        said = str(refused.value)
    else:
        name, *more = command.split()
        grid = SMALL if name == "sweep" else ("--depth", "8", "--steps", "2")
        done = resdeg(name, tiny_toml, *grid, "--set", "training.lr=0.02", "--out", "out", *more)
        assert (done.returncode, done.stdout) == (2, "")
        said = done.stderr
    assert all(text in said for text in says), said
    assert contents(swept) == before
    assert sorted(os.listdir(tmp_path)) == folders


def test_a_refusal_comes_before_the_data(resdeg, swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESDEG_DATA_DIR", raising=False)
    done = resdeg("sweep", "--out", "out")
    assert (done.returncode, "data.name is hierarchy there and cifar10 here" in done.stderr) == (2, True)


def test_another_grid_and_another_arm_join(resdeg, swept: Path, tiny_toml: Path) -> None:
    trained = {path: path.read_bytes() for path in swept.rglob("metrics.jsonl")}
    for more in (("--seeds", "1"), ("--depths", "14"), ARM, ("--families", "plain,residual")):
        done = resdeg("sweep", tiny_toml, *SMALL, *more, "--out", "out")
        assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in trained} == trained
    sweep = package.load(swept)
    assert sorted(zip(sweep.runs["family"], sweep.runs["depth"], sweep.runs["seed"], strict=True)) == [
        ("plain", 8, 0), ("plain", 8, 1), ("plain", 14, 0), ("residual", 8, 0),
    ]  # fmt: skip
    assert list(sweep.arms) == ["wide"], "a grid that names no arm takes none away"
    assert plan(swept)["arms"]["wide"]["families"] == ["plain"], "the arm is over the runs that it has"
    done = resdeg("sweep", tiny_toml, *SMALL, *ARM, "--set", "arms.wide.training.lr=0.02", "--out", "out")
    assert (done.returncode, "arms.wide.training.lr is 0.1 there and 0.02 here" in done.stderr) == (2, True)


def test_runs_of_an_earlier_grid_are_shown_and_can_be_planned(resdeg, swept: Path, tiny_toml: Path) -> None:
    """Nothing is registered here; a run that was stays planned, see tests/sweep/test_registration.py."""
    unregister(swept)
    assert resdeg("sweep", tiny_toml, *SMALL, "--depths", "14", "--out", "out").returncode == 0
    note = "note: 1 of the 2 runs lies outside the grid of sweep.toml, and claims are asked about that grid; "
    note += "`resdeg sweep FOLDER --depths 8,14` makes one grid of all\n"
    for command in ("status", "plot", "report"):
        assert resdeg(command).stderr == note
        assert resdeg("--quiet", command).stderr == ""
    assert note in (swept / "report.md").read_text() + "\n"
    assert "plain x depths 8, 14 x 1 seed\n" in resdeg("list", "out").stdout
    status = json.loads(resdeg("status", "--json").stdout)
    assert ([row["depth"] for row in status["rows"]], "--depths 8,14" in status["unplanned"]) == (
        [14, 8],
        True,
    )
    assert "nothing to train" in resdeg("sweep", "out", "--depths", "8,14").stderr
    done = resdeg("status", "--json")
    assert (done.stderr, "unplanned" in json.loads(done.stdout)) == ("", False)
    assert resdeg("sweep", "out", "--families", "residual", "--seeds", "1").returncode == 0
    said = resdeg("plot").stderr
    assert "2 of the 4 runs lie outside" in said
    assert (
        "--families plain,residual --seeds 0,1` makes one grid of all; until then only residual networks"
        in said
    )


def test_an_arm_that_gets_another_name_is_there_once(resdeg, swept: Path, tiny_toml: Path) -> None:
    for name in ("wide", "twice"):
        done = resdeg("sweep", tiny_toml, *SMALL, "--set", f"arms.{name}.model.width=0.5", "--out", "out")
        assert done.returncode == 0, done.stderr
    assert list(package.load(swept).arms) == ["twice"]


@pytest.mark.parametrize("given", ["out", "out/", "out/sweep.toml"])
def test_a_sweep_goes_on_in_its_folder(resdeg, swept: Path, tmp_path: Path, given: str) -> None:
    (lost,) = SweepStore(swept).run_ids()
    before = (swept / "runs" / lost / "metrics.jsonl").read_bytes()
    done = resdeg("sweep", given)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "out/curve.png")
    assert "nothing to train" in done.stderr
    shutil.rmtree(swept / "runs" / lost)
    assert resdeg("sweep", given).returncode == 0
    assert (swept / "runs" / lost / "metrics.jsonl").read_bytes() == before
    assert resdeg("sweep", given, "--seeds", "0-1").returncode == 0
    assert len(SweepStore(swept).run_ids()) == 2
    assert resdeg("train", given, "--depth", "8", "--seed", "2").returncode == 0
    assert len(SweepStore(swept).run_ids()) == 3
    assert not list(tmp_path.glob("results/local/*/runs"))
    done = resdeg("sweep", given, "--set", "model.width=0.5")
    assert (done.returncode, "model.width is 0.25 there and 0.5 here" in done.stderr) == (2, True)


def test_a_sweep_goes_on_in_the_folder_in_which_one_stands(resdeg, swept: Path, tiny_toml: Path) -> None:
    """From Python too, by the folder and by its plan."""
    for config in (swept, str(swept), swept / "sweep.toml"):
        sweep = package.sweep(config=config)
        assert (sweep.folder, len(sweep.runs)) == (swept, 1)
    os.chdir(swept)
    assert package.sweep(config="sweep.toml").folder == Path()


def test_a_published_folder_goes_on_as_it_was(resdeg, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "demo", tmp_path / "demo")
    before = (tmp_path / "demo" / "sweep.toml").read_bytes()
    for arguments in (("demo/sweep.toml", "--out", "demo"), ("demo",), ("demo/sweep.toml",)):
        done = resdeg("sweep", *arguments)
        assert done.returncode == 0, done.stderr
        assert "all 91 runs are finished: nothing to train" in done.stderr
    assert json.loads(resdeg("status", "demo", "--json").stdout)["counts"] == {"finished": 91}
    assert (tmp_path / "demo" / "sweep.toml").read_bytes().startswith(before[:40])


def test_one_run_joins_a_plan_with_arms_and_a_witness_and_changes_nothing_in_it(
    resdeg, tiny_toml: Path, tmp_path: Path
) -> None:
    tiny_toml.write_text(tiny_toml.read_text() + "[claims]\ndepth = 8\n[arms.wide]\nmodel.width = 0.5\n")
    done = resdeg(
        "sweep", tiny_toml, "--depths", "8,14", "--families", "plain", "--seeds", "0", "--steps", "2"
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "local" / "tiny-steps-2"
    before = (folder / "sweep.toml").read_bytes()
    assert {"arms", "claims"} <= plan(folder).keys()
    for number, given in enumerate((folder, folder / "sweep.toml", tiny_toml)):
        steps = ("--steps", "2") if given == tiny_toml else ()
        done = resdeg("train", given, *steps, "--depth", "14", "--seed", 7 + number)
        assert done.returncode == 0, done.stderr
        assert len(SweepStore(folder).run_ids()) == 5 + number
    assert (folder / "sweep.toml").read_bytes() == before
    done = resdeg("train", folder, "--depth", "14", *ARM)
    assert (done.returncode, "resdeg train makes one run" in done.stderr) == (2, True)


def test_a_folder_without_a_sweep_is_named(resdeg, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = resdeg("sweep", "empty")
    assert (done.returncode, done.stdout) == (2, "")
    assert "empty holds no sweep" in done.stderr
    assert os.listdir(tmp_path / "empty") == []
