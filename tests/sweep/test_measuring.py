"""Networks measured side by side: their order, their errors, and a worker that dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resdeg import locks
from resdeg.errors import LostError, StorageError
from resdeg.store import SweepStore
from resdeg.sweep.measuring import Measured, Request, measure
from tests.conftest import Resdeg
from tests.planted import CELLS, planted
from tests.sweep.stand_ins import describe_run, die, refuse

REQUEST = Request(("responses",), 40)


def measure_all(
    tmp_path: Path, entry: Callable[..., object], jobs: int = 1, cores: int = 2
) -> list[Measured]:
    store = SweepStore(tmp_path / "p")
    if not store.plan.exists():
        planted(store.folder, {cell: values[:1] for cell, values in CELLS.items()})
    runs = [store.run(run_id).config() for run_id in store.run_ids()]
    return list(measure(store, runs, request=REQUEST, jobs=jobs, cores=cores, entry=entry))


@pytest.mark.slow
def test_the_deepest_come_first_and_cores_are_shared(tmp_path: Path) -> None:
    measured = measure_all(tmp_path, describe_run)
    depths = [done.measures for done in measured]
    assert depths == sorted(depths, reverse=True)
    assert len({done.run_id for done in measured}) == len(measured)
    again = measure_all(tmp_path, describe_run, jobs=3, cores=6)
    assert {done.run_id for done in again} == {done.run_id for done in measured}
    notices = [done.notices for done in [*measured, *again]]
    assert notices == [["p", f"{REQUEST}", "2 threads"]] * 8, "six cores are two for each"


@pytest.mark.slow
def test_a_worker_that_dies_or_refuses_ends_it(tmp_path: Path) -> None:
    for entry, kind, says in (
        (die, LostError, r"its worker died \(exit code 7\)\nif memory was short, try --jobs 1"),
        (refuse, StorageError, "no space\nmake some"),
    ):
        with pytest.raises(kind, match=says):
            measure_all(tmp_path, entry, jobs=2)
        assert not locks.is_locked(tmp_path / "p" / "diagnose.lock")


def test_jobs_are_auto_or_a_number(resdeg: Resdeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path / "p", CELLS)
    assert "no usable checkpoint" in resdeg("diagnose", "p", "--jobs", "auto").stderr
    for wrong in ("0", "two"):
        done = resdeg("diagnose", "p", "--jobs", wrong)
        assert (done.returncode, "command line" in done.stderr) == (2, True), done.stderr
    monkeypatch.setenv("RESDEG_JOBS", "0")
    done = resdeg("diagnose", "p")
    assert (done.returncode, "RESDEG_JOBS" in done.stderr) == (2, True), done.stderr
