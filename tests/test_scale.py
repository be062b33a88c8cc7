"""`make scale` in small: its sweeps are whole, its commands work, and it sees what misses a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from resdeg import files
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.status import read_status
from resdeg.config import RunConfig
from resdeg.sweep.plan import Plan
from tests import scale
from tests.copies import ROOT, run_module

SIZES = (20, 40, 60)


def pretend(cost: Callable[[int], float], *, mib: float = 100) -> scale.Run:
    """Returns what stands in for `run_command`: each command takes `cost` of the runs that are planned."""

    def run(arguments: Sequence[str], cache: Path) -> scale.Usage:
        planned = (cache.parent / "plan.toml").read_text()
        runs = next(size for size in (*SIZES, scale.PER_SEED) if scale.plan_sweep(size).to_toml() == planned)
        return scale.Usage(seconds=99.0, cpu=cost(runs), mib=mib)

    return run


def test_planted_runs_are_those_of_a_whole_sweep(tmp_path: Path) -> None:
    store = scale.plant_sweep(tmp_path / "s", 20)
    status = read_status(store.folder)
    assert (status.counts, status.problems, status.mixed) == ({"finished": 20}, [], [])
    assert {row.arm for row in status.rows} == {"", "identity"}
    assert len(load_sweep(store.folder).metrics) == 16 * scale.EPOCHS


@pytest.mark.parametrize(
    ("run", "missed", "commands"),
    [
        (pretend(lambda runs: 1 + runs / 10), "nothing", 0),
        (pretend(lambda runs: 1 + (runs / 60) ** 8), "R2 of a line 0.7", len(scale.COMMANDS)),
        (pretend(lambda runs: runs / 2), "30.0 s of processors, at most 20", len(scale.COMMANDS) - 1),
        (pretend(lambda runs: runs / 10, mib=1100), "1100 MiB, at most 1024", len(scale.COMMANDS)),
    ],
    ids=("none", "growth", "seconds", "memory"),
)
def test_a_missed_limit_is_named_and_fails(
    run: scale.Run, missed: str, commands: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scale.main(SIZES, run=run) == int(commands > 0)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("missed: ")]
    assert len(lines) == commands
    assert all(missed in line for line in lines)


@pytest.mark.slow
def test_every_command_works_and_is_measured() -> None:
    """In a small process, because what it starts begins with as much memory as it has."""
    lines = run_module(ROOT, "tests.scale", "20", "40").splitlines()
    for command in scale.COMMANDS:
        assert sum(line.startswith(f"{command.name:22} ") for line in lines) == 3


def test_a_command_that_fails_ends_it_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="resdeg status .* failed:\n(.|\n)*does not exist"):
        scale.run_command(["status", str(tmp_path / "none")], tmp_path / "cache")


@pytest.mark.slow
def test_settings_are_read_once_in_a_sweep_of_more_than_a_thousand_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = scale.plant_sweep(tmp_path / "s", 1_100)
    dump, identities = RunConfig.model_dump, [0]

    def count(*arguments: object, **named: object) -> object:
        identities[0] += 1
        return dump(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(RunConfig, "model_dump", count)
    load_sweep(store.folder)
    assert identities[0] <= 2 * 1_100, "as planned, and as read"


def test_planned_runs_are_not_read_to_find_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = scale.plant_sweep(tmp_path / "s", 40)
    plan = Plan.load(scale.plan_sweep(20), store)
    read, names = files.read, set[str]()

    def note(path: Path) -> bytes | None:
        names.add(path.parent.name)
        return read(path)

    monkeypatch.setattr(files, "read", note)
    assert len(plan.others) == 20
    assert names == {*plan.others}
