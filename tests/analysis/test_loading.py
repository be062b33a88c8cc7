"""Reading a sweep is linear in its runs: counted, not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resdeg import files, locks
from resdeg.analysis.diagnostics import load_diagnostics
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.status import read_status
from resdeg.config import ConstructedConfig, RunConfig, SweepConfig, resolve, sweep
from resdeg.store import SweepStore
from tests.planted import planted

ARMS = {
    "slow": {"training": {"lr": 0.05}},
    "linear": {"families": "residual", "model": {"inner_activation": "none"}},
}
PER_SEED = 10  # runs: four of the grid and of the first arm, two of the second


def plant(folder: Path, seeds: int) -> SweepStore:
    """A finished sweep with arms, of PER_SEED runs for each of `seeds`."""
    cells = {(family, depth): [0.5] * seeds for family in ("plain", "residual") for depth in (8, 20)}
    return planted(folder, cells, of_arms={arm: {"accuracy": cells} for arm in ARMS}, arms=ARMS)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many runs were built, identities computed and files read, as it happens."""
    done: Counter[str] = Counter()

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            done[name] += 1
            return original(*arguments, **named)

        return call

    monkeypatch.setattr(sweep, "RunConfig", counted("runs built", RunConfig))
    monkeypatch.setattr(RunConfig, "model_dump", counted("identities computed", RunConfig.model_dump))
    monkeypatch.setattr(files, "read", counted("files read", files.read))
    monkeypatch.setattr(locks, "is_locked", counted("locks tried", locks.is_locked))
    monkeypatch.setattr(SweepStore, "names", counted("folders listed", SweepStore.names))
    return done


@pytest.mark.parametrize("load", [load_sweep, read_status, load_diagnostics])
def test_each_run_is_built_once_however_many_there_are(
    load: Callable[[Path], object], tmp_path: Path, work: Counter[str]
) -> None:
    shares = []
    for seeds in (2, 6):
        runs = PER_SEED * seeds
        store = plant(tmp_path / f"{runs}", seeds)
        assert len(store.run_ids()) == runs
        work.clear()
        load(store.folder)
        assert work["runs built"] == runs
        assert work["identities computed"] <= 3 * runs, "as planned, as listed, and as read"
        assert work.pop("folders listed") == 1
        shares.append({name: count / runs for name, count in work.items()})
    assert all(shares[1][name] <= share for name, share in shares[0].items())
    assert shares[0]["files read"] >= 1


def test_a_damaged_run_of_two_arms_is_named_once(tmp_path: Path) -> None:
    cells = {("plain", 8): [0.5, 0.5]}
    arms = dict.fromkeys(("slow", "again"), ARMS["slow"])
    store = planted(tmp_path / "a", cells, of_arms={"slow": {"accuracy": cells}}, arms=arms)
    assert load_sweep(store.folder).arms.keys() == arms.keys()
    for run_id in store.run_ids():
        if "-s1-" in run_id:
            (store.run(run_id).folder / "summary.json").write_text("{")
    problems = load_sweep(store.folder).problems
    assert len(problems) == len({*problems}) == 2


def test_what_follows_from_settings_is_computed_once() -> None:
    config: SweepConfig = resolve(None, {}, [], {"depths": "8,20", "training": {"epochs": 2}, "arms": ARMS})
    assert config.grid() is config.grid()
    assert config.runs() is config.runs()
    assert config.grids[0] is config
    assert config.grids[1] is config.grids[1]
    first = config.grid()[0]
    assert first.run_id is first.run_id
    assert first.identity is first.identity


def test_a_copy_with_other_settings_forgets_it() -> None:
    """As a constructed run's shallow one, or a sweep under another recipe."""
    config: SweepConfig = resolve(
        None, {}, [], {"depths": "20", "families": "plain", "seeds": "0", "training": {"epochs": 2}}
    )
    (single,) = config.grid()
    names = single.run_id, single.settings_id
    deeper = single.model_copy(update={"depth": 56})
    assert deeper.run_id.startswith("plain-d56-s0-")
    assert deeper.settings_id == single.settings_id
    constructed = single.model_copy(update={"constructed": ConstructedConfig(from_depth=8)})
    assert constructed.settings_id != single.settings_id
    assert constructed.shallow.run_id != constructed.run_id
    assert (single.run_id, single.settings_id) == names
    config.runs()
    longer = config.model_copy(update={"seeds": (0, 1)})
    assert (len(longer.grid()), len(longer.runs())) == (2, 2)
    fresh = RunConfig.model_validate_json(single.model_dump_json())
    assert fresh == single, "what was computed is no setting"
    assert fresh.model_dump() == single.model_dump()
    assert hash(fresh) == hash(single)
