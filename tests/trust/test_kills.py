"""SIGKILL before, in and after every operation on the disk of a real run: nothing is lost."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from resdeg.config import RunConfig
from resdeg.store import RunStore
from tests.trust import faults
from tests.trust.child import Told, run, signature
from tests.trust.more import MORE

SHARDS = 2
KILLS = 50 * MORE  # at random, in each shard


@pytest.fixture
def config(tiny_run) -> RunConfig:
    """Three epochs of eight steps."""
    return tiny_run("residual")


@pytest.fixture
def straight(tmp_path: Path, config: RunConfig) -> tuple[RunStore, Told]:
    """The run that nothing happened to."""
    store = fresh(tmp_path / "straight", config)
    return store, run(store, config)


def fresh(sweep: Path, config: RunConfig) -> RunStore:
    """A store in a sweep's folder that is there, so that every run makes the same operations."""
    sweep.mkdir()
    return RunStore(sweep / config.run_id)


@pytest.mark.slow
def test_the_count_is_that_of_the_system(straight: tuple[RunStore, Told]) -> None:
    """What is patched is all there is: an audit hook sees as many operations as the instrument counts."""
    store, told = straight
    counted = Counter(told.operations)
    assert told.status == "finished"
    assert told.shown == [r.step for r in store.metrics()]
    assert len(told.shown) == 3
    assert told.audited == {
        "open": counted["open"],
        "os.rename": counted["replace"],
        "os.remove": counted["unlink"],
        "os.mkdir": counted["mkdir"],
        **({"os.truncate": counted["truncate"]} if counted["truncate"] else {}),
    }
    assert counted["write"] == counted["open"], "each file that is opened is written in one piece"


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("when", faults.MOMENTS)
def test_killed_at_every_operation_it_goes_on_with_the_same_bits(
    straight: tuple[RunStore, Told], config: RunConfig, tmp_path: Path, when: str, shard: int
) -> None:
    """Counted, not timed; the loop ends when a run was not killed any more."""
    reference, unharmed = straight
    for at in itertools.count(shard + 1, SHARDS):
        if when == "in" and at <= len(unharmed.operations) and unharmed.operations[at - 1] != "write":
            continue  # only a write has a middle
        store = fresh(tmp_path / f"{when}-{at}", config)
        killed = run(store, config, when, at)
        if killed.exitcode == 0:
            assert at > len(unharmed.operations)
            return
        assert killed.exitcode == -9
        assert at <= len(unharmed.operations)
        place = f"{when} operation {at} ({unharmed.operations[at - 1]})"
        found = store.checkpoint()
        kept = found[0].recorded if found else 0
        assert kept >= max(killed.shown, default=0), f"an epoch that was shown is lost: {place}"
        resumed = run(store, config)
        assert (resumed.exitcode, resumed.status) == (0, "finished"), place
        assert resumed.begun == (found[0].step if found else 0), place
        assert resumed.shown == [r.step for r in reference.metrics() if r.step > kept], place
        assert signature(store) == signature(reference), place
        assert not list(store.folder.rglob("*.tmp-*")), place


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_again_and_again_at_random(
    straight: tuple[RunStore, Told], config: RunConfig, tmp_path: Path, shard: int
) -> None:
    """Chains of up to five deaths of one run, between operations, between steps and at any time."""
    reference, unharmed = straight
    draw = random.Random(shard)
    kills = 0
    for chain in itertools.count():
        store = fresh(tmp_path / f"{chain}", config)
        shown: list[int] = []
        for _ in range(draw.randint(1, 5)):
            when = draw.choice([*faults.MOMENTS, "step", "time"])
            most = {"step": 24, "time": 200}.get(when, len(unharmed.operations))
            told = run(store, config, when, draw.randint(1, most))
            kills += told.exitcode < 0
            shown += told.shown
            found = store.checkpoint()
            assert (found[0].recorded if found else 0) >= max(shown, default=0)
        last = run(store, config)
        assert (last.exitcode, last.status) == (0, "finished")
        assert signature(store) == signature(reference)
        assert len(shown + last.shown) == len(set(shown + last.shown)), "no epoch is done twice once shown"
        if kills >= KILLS:
            return
