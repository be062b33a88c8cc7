"""What it costs that nothing is lost."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
import torch

from resdeg.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.data import load
from resdeg.records import EvalRecord, TimingRecord
from resdeg.runner.live import Training
from resdeg.store import SweepStore, open_run
from resdeg.training.state import to_bytes

STEPS_OF_CIFAR = 391  # of an epoch of 50,000 images in batches of 128


@pytest.mark.slow
def test_durability_costs_less_than_a_hundredth_of_an_epoch(tmp_path: Path, record_property) -> None:
    """Record and checkpoint of residual-56 at its full width, against the shortest of its steps."""
    config = RunConfig(
        family="residual",
        depth=56,
        seed=0,
        data=DataConfig(name="hierarchy"),
        model=ModelConfig(),
        training=TrainingConfig(recipe="demo", epochs=1),
    )
    training = Training.of(config, load(config.data, None), torch.device("cpu"))
    take, steps = training.eager(), []
    for step in range(3):
        before = time.perf_counter()
        take(step, 0)
        steps.append(time.perf_counter() - before)
    with open_run(SweepStore(tmp_path).run(config.run_id), config) as session:
        saves = []
        for step in range(1, 6):
            before = time.perf_counter()
            record = EvalRecord(
                epoch=step,
                step=step,
                lr=0.1,
                train_loss=1,
                train_accuracy=0.5,
                test_loss=1,
                test_accuracy=0.5,
            )
            session.append(record, TimingRecord(step=step, training_seconds=1, evaluation_seconds=1))
            session.commit(to_bytes(training.state), step, step)
            saves.append(time.perf_counter() - before)
    # 16x16 images of the built-in data: a quarter of CIFAR-10's work, so that this is the harder case.
    share = statistics.median(saves) / (min(steps) * STEPS_OF_CIFAR)
    record_property("durability_share_of_an_epoch", share)
    print(f"{statistics.median(saves) * 1e3:.0f} ms of {min(steps) * STEPS_OF_CIFAR:.0f} s: {share:.3%}")
    assert share < 0.01
