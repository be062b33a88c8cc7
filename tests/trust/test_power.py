"""Power loss at every operation of a run: what was acknowledged stands, and the rest is done again."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from resdeg.store import RunStore
from tests.trust import faults, scripted
from tests.trust.more import MORE
from tests.trust.power import Disk, Recorded, recorder

IMAGES = 6 * MORE  # of each crash: one with nothing that was not synced, the others drawn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="names open files by /proc"),
]


@pytest.fixture
def recorded(tmp_path: Path, tiny_run):
    """A run on a folder that was there before, its operations, and after how many each epoch was shown."""
    config = tiny_run()
    store = RunStore(tmp_path / "straight" / config.run_id)
    (tmp_path / "straight").mkdir()
    log: list[Recorded] = []
    shown: dict[int, int] = {}
    with faults.Operations(recorder(log)):
        scripted.train(store, config, lambda step: shown.update({step: len(log)}))
    return store, config, log, shown


def test_power_loss_at_every_operation(recorded, tmp_path: Path) -> None:
    reference, config, log, shown = recorded
    choose = random.Random(0)
    images = 0
    for crash in range(len(log) + 1):
        disk = Disk(tmp_path / "straight")
        for operation in log[:crash]:
            disk.apply(*operation)
        acknowledged = max((step for step, after in shown.items() if after <= crash), default=0)
        for number in range(IMAGES):
            place = tmp_path / "image" / f"{crash}-{number}"
            disk.image(place, choose if number else None)
            store = RunStore(place / config.run_id)
            found = store.checkpoint()
            assert (found[0].recorded if found else 0) >= acknowledged, f"after {log[crash - 1][:2]}"
            assert [r.step for r in store.metrics()][:acknowledged] == list(range(1, acknowledged + 1))
            scripted.train(store, config)
            assert scripted.signature(store) == scripted.signature(reference), f"after {log[crash - 1][:2]}"
            images += 1
    assert images >= 300


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_without_a_sync_it_is_seen(recorded, tmp_path: Path, lost: str) -> None:
    """The same run whose syncs of files, or of folders, are left out loses what it had shown."""
    _, config, log, shown = recorded
    disk = Disk(tmp_path / "straight")
    for name, path, detail in log:
        if name != "fsync" or (path in disk.folders) != (lost == "folder"):
            disk.apply(name, path, detail)
    disk.image(tmp_path / "image", None)
    found = RunStore(tmp_path / "image" / config.run_id).checkpoint()
    assert len(shown) == scripted.EPOCHS
    assert found is None
