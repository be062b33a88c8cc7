"""What people type first works, or is answered with what to write instead: every row of the tables."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from resdeg.cli import habits
from resdeg.cli.app import app
from resdeg.cli.habits import join_lists
from resdeg.config import SweepConfig, resolve
from resdeg.config.synonyms import FIXED, SETTINGS
from resdeg.sweep import calibration
from resdeg.sweep.calibration import Calibration, Counts
from tests.planted import CELLS, planted


def option_names(command: object) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def commands() -> dict[str, set[str]]:
    """The options of every command."""
    return {name: option_names(command) for name, command in typer.main.get_command(app).commands.items()}


@pytest.mark.parametrize("answer", habits.ANSWERS)
def test_an_answer_names_options_that_a_command_has(answer: str) -> None:
    named = {*re.findall(r"--[a-z-]+", answer)}
    assert named
    assert any(named <= options for options in commands().values())
    for setting in re.findall(r"--set ([\w.]+=\S+)", answer.replace("=STEPS", "=5").replace("=N", "=5")):
        assert isinstance(resolve(None, {}, [setting], {}), SweepConfig)


@pytest.mark.parametrize("command", ["sweep", "train", "config show"])
def test_every_name_of_the_tables_is_answered(resdeg, command: str) -> None:
    path = command.split()
    own = commands()[command] if command in commands() else commands()["sweep"]
    for name in [*SETTINGS, *FIXED, *habits.MODELS.split()]:
        option = f"--{name}" if len(name) > 1 else f"-{name}"
        if option in own:
            continue
        done = resdeg(*path, option, "0.5")
        assert (done.returncode, done.stdout) == (2, "")
        first, second = done.stderr.splitlines()
        assert first.startswith(f"error: resdeg {command} has no option {option}")
        assert second.lstrip().startswith("leave it out: " if name in FIXED else "write --"), option


@pytest.mark.parametrize(
    ("typed", "joined"),
    [
        (["--depths", "8", "20", "56"], ["--depths", "8 20 56"]),
        (["--depths=8,", "20", "a.toml"], ["--depths=8, 20", "a.toml"]),
        (["--families", "plain", "residual", "--fresh"], ["--families", "plain residual", "--fresh"]),
        (["a.toml", "--seeds", "0", "1", "--jobs", "2"], ["a.toml", "--seeds", "0 1", "--jobs", "2"]),
        (["--depths", "8..20", "56"], ["--depths", "8..20 56"]),
        (["--jobs", "2", "3"], ["--jobs", "2", "3"]),
        (["--depths", "8", "--", "20"], ["--depths", "8", "--", "20"]),
        (["--depths"], ["--depths"]),
        ([], []),
    ],
)
def test_a_list_that_the_shell_split_is_one_argument(typed: list[str], joined: list[str]) -> None:
    assert list(join_lists(typed)) == joined


@pytest.mark.parametrize(
    "arguments",
    [
        ["--depths", "8..20", "--seeds", "0..2"],
        ["--depths", "8:20:6", "--seeds", "0-2"],
        ["--depths", "8, 14, 20", "--seeds", "0, 1, 2"],
        ["--depths", "8", "14", "20", "--seeds", "0", "1", "2"],
        ["--depths=8", "14", "20", "--families", "plain", "residual"],
        ["--depths", "[8,14,20]", "--families", "plain, residual"],
    ],
)
def test_lists_mean_the_same_however_they_are_typed(resdeg, arguments: list[str]) -> None:
    done = resdeg("config", "show", *arguments)
    assert done.returncode == 0, done.stderr
    settings = tomllib.loads(done.stdout)
    assert (settings["depths"], settings["seeds"]) == ([8, 14, 20], [0, 1, 2])
    assert settings["families"] == ["plain", "residual"]


@pytest.mark.parametrize("content", [None, "not a folder"], ids=["gone", "a file"])
def test_a_last_sweep_that_was_moved_is_named(resdeg, tmp_path: Path, content: str | None) -> None:
    planted(tmp_path / "results" / "local" / "moved", CELLS)
    (tmp_path / "results" / "local" / "last-sweep").write_text("results/local/short\n")
    if content is not None:
        (tmp_path / "results" / "local" / "short").write_text(content)
    for command in ("plot", "status", "report", "diagnose"):
        done = resdeg(command)
        assert (done.returncode, done.stdout) == (2, "")
        first, second = done.stderr.splitlines()
        assert "the last sweep here was results/local/short, and it is not there any more" in first
        assert "results/local/last-sweep" in first
        assert second.strip() == "give the folder where it is now"
    assert resdeg("status", "results/local/moved").returncode == 0
    assert resdeg("anchors").returncode == 0, "it has the published numbers to show"


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network costs the same, so that a dry run needs neither torch nor a measurement."""
    counts = Counts(parameters=1_000, multiply_adds=1_000)

    def recall(config: SweepConfig) -> Calibration:
        return Calibration(
            device="cpu", blocks=(1, 2), stem=counts, stem_seconds=0.1, seconds=(1.0, 2.0), bytes=(1, 2),
            counts=dict.fromkeys(config.families, (counts, counts)),
        )  # fmt: skip

    monkeypatch.setattr(calibration, "recall", recall)


@pytest.mark.usefixtures("priced")
def test_another_length_says_that_it_trains_anew_and_why(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)  # 12 runs of 2 epochs, depths 8 and 20 among them
    grid = ("sweep", "--depths", "8,20", "--seeds", "0", "--out", "s", "--dry-run")
    for length in (("--epochs", "20"), ("--steps", "100")):
        done = resdeg(*grid, *length)
        assert done.returncode == 2
        assert "another length trains anew, because the rate of every step is scaled to it" in done.stderr
    for other in (("--epochs", "2"), ("--epochs", "2", "--set", "training.lr=0.05")):
        assert "trains anew" not in resdeg(*grid, *other).stderr


def test_config_show_prints_what_sweep_reads(resdeg, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("seeds = [5]\n[training]\nlr = 0.2\n")
    arguments = ("a.toml", "--epochs", "3", "--set", "arms.wide.model.width=2.0", "--device", "cpu")
    done = resdeg("config", "show", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    again = tmp_path / "again.toml"
    again.write_text(done.stdout)
    assert resolve(again, {}, [], {}).runs()[0].training.lr == 0.2
    assert resdeg("config", "show", "again.toml").stdout == done.stdout
    assert json.loads(resdeg("config", "show", *arguments, "--json").stdout) == tomllib.loads(done.stdout)
    assert not (tmp_path / "results").exists()


def test_config_show_says_where_each_value_comes_from(
    resdeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a\n#b.toml").write_text("seeds = [5]\n[training]\nlr = 0.2\n[execution]\ndevice = 'cpu'\n")
    monkeypatch.setenv("RESDEG_JOBS", "3")
    monkeypatch.setenv("RESDEG_OFFLINE", "")
    arguments = ("a\n#b.toml", "--depths", "8,20", "--set", "model.width=0.5")
    plain = resdeg("config", "show", *arguments)
    done = resdeg("config", "show", *arguments, "--origin")
    assert (done.returncode, done.stderr) == (0, "")
    assert tomllib.loads(done.stdout) == tomllib.loads(plain.stdout)
    lines = done.stdout.splitlines()
    for line in (
        "depths = [  # option", "lr = 0.2  # file a\\n#b.toml", "width = 0.5  # --set",
        "momentum = 0.9  # default",
        'schedule = "triangle"  # recipe short', 'recipe = "short"  # default', "offline = false  # default",
        "jobs = 3  # environment RESDEG_JOBS", 'device = "cpu"  # file a\\n#b.toml',
    ):  # fmt: skip
        assert line in lines
    every = json.loads(resdeg("config", "show", *arguments, "--origin", "--json").stdout)
    assert every["training.lr"] == {"value": 0.2, "origin": "file a\\n#b.toml"}
    assert every["depths"] == {"value": [8, 20], "origin": "option"}
    assert len(every) == sum(" = " in line for line in lines)


def test_config_without_a_subcommand_shows_its_help(resdeg) -> None:
    done = resdeg("config")
    assert "show" in done.stdout + done.stderr
    assert "Usage" in done.stdout + done.stderr
