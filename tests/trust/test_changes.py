"""What changed between two processes that work on one sweep is said, and never mixed in silence."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import resdeg.runner
from resdeg.analysis.reader import collect_provenance, describe_differences
from resdeg.records import MAKES_BITS
from resdeg.runner import execute
from resdeg.runner.provenance import digest_code
from resdeg.store import SweepStore
from tests.conftest import ON_CPU
from tests.trust import scripted

PACKAGE = Path(resdeg.runner.__file__).parents[1]
OTHER = {"threads": 7}


def pretend(store, name: str) -> None:
    """Let the run have been begun with another `name`."""
    path = store.folder / "environment.json"
    tree = json.loads(path.read_text())
    tree["segments"][-1][name] = OTHER.get(name, "1.0-other")
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize("name", MAKES_BITS)
def test_a_resumed_run_says_what_changed(tmp_path: Path, tiny_run, name: str) -> None:
    config = tiny_run()
    store = SweepStore(tmp_path).run(config.run_id)
    steps = iter(range(10**6))
    execute(config, store, ON_CPU, stop=lambda: next(steps) >= 9)
    pretend(store, name)
    notices: list[str] = []
    execute(config, store, ON_CPU, report=lambda progress: notices.append(progress.notice or ""))
    before = str(OTHER.get(name, "1.0-other"))
    said = [line for line in notices if f"{name} {before} -> " in line]
    assert len(said) == 1
    assert "same bits are not claimed" in said[0]
    assert len(store.environment().segments) == 2
    assert describe_differences(collect_provenance([store]))[0].startswith(f"the runs differ in {name}: ")


def test_runs_that_differ_are_said_where_they_are_read(resdeg, tiny_toml, tmp_path: Path) -> None:
    done = resdeg("sweep", tiny_toml, "--depths", "8", "--seeds", "0", "--out", "out")
    assert done.returncode == 0, done.stderr
    store = SweepStore(tmp_path / "out")
    assert describe_differences(collect_provenance(store.run(run_id) for run_id in store.run_ids())) == []
    assert "differ" not in resdeg("plot", "out").stderr
    pretend(store.run(store.run_ids()[0]), "torch")
    for command in ("status", "plot"):
        assert "note: the runs differ in torch: 1.0-other (1 run), " in resdeg(command, "out").stderr
    assert "torch" in json.loads(resdeg("status", "out", "--json").stdout)["mixed"][0]


@pytest.mark.parametrize("change", ["training.threads=2", "training.lr=0.05", "model.width=0.5"])
def test_other_settings_are_other_runs(resdeg, tiny_toml, tmp_path: Path, change: str) -> None:
    arguments = ("sweep", tiny_toml, "--depths", "8", "--families", "plain", "--seeds", "0", "--out", "out")
    assert resdeg(*arguments).returncode == 0
    store = SweepStore(tmp_path / "out")
    (first,) = store.run_ids()
    kept = {path: path.read_bytes() for path in store.run(first).folder.glob("*.json*")}
    done = resdeg(*arguments, "--set", change)
    assert done.returncode == 2
    assert f"out holds a sweep of other settings: {change.partition('=')[0]} is " in done.stderr
    assert store.run_ids() == [first]
    (free,) = re.findall(r"--out (\S+)$", done.stderr, re.MULTILINE)
    assert resdeg(*arguments[:-1], free, "--set", change).returncode == 0
    (other,) = SweepStore(tmp_path / free).run_ids()
    assert other != first
    assert {path: path.read_bytes() for path in kept} == kept


def test_the_digest_is_that_of_the_code_that_computes(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "same", ignore=shutil.ignore_patterns("__pycache__"))
    assert digest_code(tmp_path / "same") == digest_code(PACKAGE)
    for number, (place, counts) in enumerate(
        {
            "training/loop.py": True,
            "models/block.py": True,
            "randomness.py": True,
            "cli/app.py": False,
        }.items()
    ):
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "same", copy)
        with (copy / place).open("a") as file:
            file.write("\n")
        assert (digest_code(copy) != digest_code(PACKAGE)) == counts, place


def test_records_from_before_the_digest_are_read(tmp_path: Path, tiny_run) -> None:
    config = tiny_run()
    store = SweepStore(tmp_path).run(config.run_id)
    scripted.train(store, config)
    tree = json.loads((store.folder / "environment.json").read_text())
    tree["schema_version"] = 2
    del tree["segments"][0]["code"]
    (store.folder / "environment.json").write_text(json.dumps(tree))
    assert store.environment().segments[0].code == ""
    assert describe_differences(collect_provenance([store])) == []
