"""What it costs that nothing is lost: counted in syncs and bytes; docs/reliability.md has the seconds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from resdeg.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.data import load
from resdeg.models import build_model
from resdeg.records import EvalRecord, TimingRecord
from resdeg.runner import execute
from resdeg.runner.live import Training
from resdeg.store import RunSession, SweepStore, open_run
from resdeg.training.state import to_bytes
from tests.trust import faults
from tests.trust.power import Recorded, recorder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names open files by /proc")

# A line in two files, the tensors, the manifest: a sync of each, and of the folder of what is renamed (the
# tensors, the manifest before, the manifest).
SYNCS = 4 + 3


def append(session: RunSession, step: int) -> None:
    record = EvalRecord(
        epoch=step, step=step, lr=0.1, train_loss=1, train_accuracy=0.5, test_loss=1, test_accuracy=0.5
    )
    session.append(record, TimingRecord(step=step, training_seconds=1, evaluation_seconds=1))


@pytest.mark.slow
def test_an_epoch_costs_its_tensors_and_a_few_syncs(tmp_path: Path) -> None:
    """Of residual-56 at its full width: weights and momentum once, whatever was recorded before."""
    config = RunConfig(
        family="residual",
        depth=56,
        seed=0,
        data=DataConfig(name="hierarchy"),
        model=ModelConfig(),
        training=TrainingConfig(recipe="demo", epochs=1),
    )
    training = Training.of(config, load(config.data, None), torch.device("cpu"))
    training.eager()(0, 0)
    tensors = to_bytes(training.state)
    weights = sum(p.numel() for p in build_model("residual", 56, 0, config.model).parameters())
    assert len(tensors) < 1.05 * 2 * 4 * weights, "weights and momentum in fp32, and little beside them"
    costs = []
    with open_run(SweepStore(tmp_path).run(config.run_id), config) as session:
        for step in range(1, 41):
            log: list[Recorded] = []
            with faults.Operations(recorder(log)):
                append(session, step)
                session.commit(tensors, step, step)
            written = sum(len(detail) for name, _, detail in log if name == "write")
            costs.append((sum(name == "fsync" for name, _, _ in log), written))
    # The first epochs make folders and files; a number may later have a digit more.
    assert {syncs for syncs, _ in costs[2:]} == {SYNCS}
    assert max(written for _, written in costs) < len(tensors) + 4_000


def test_a_run_saves_once_in_an_epoch(tmp_path: Path, tiny_run: Any) -> None:
    """However many steps the epoch has, unless it is so long that a crash would lose much."""
    config = tiny_run("residual")
    store = SweepStore(tmp_path).run(config.run_id)
    log: list[Recorded] = []
    with faults.Operations(recorder(log)):
        execute(config, store, None, torch.device("cpu"))
    saved = [detail.name for name, path, detail in log if name == "replace" and "checkpoint" in str(path)]
    assert config.training.epochs == 3
    assert saved.count("manifest.json") == 3
    manifest, _ = store.checkpoint()
    assert manifest.step == 24
