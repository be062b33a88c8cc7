"""A run of the store without torch: the same files in the same order, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import safetensors.numpy

from resdeg.config import RunConfig
from resdeg.records import EvalRecord, RunSummary, Segment, TimingRecord
from resdeg.store import RunStore, open_run

EPOCHS = 3
_SEGMENT = Segment(
    from_step=0, semantics=1, data_hash="d", resdeg="0", python="3", torch="2", numpy="2", device="cpu",
    processor="x", threads=1,
)  # fmt: skip


def tensors(step: int) -> bytes:
    """In the form of a checkpoint, different at each step."""
    return safetensors.numpy.save({"weight": np.full((20, 20), step, np.float32), "step": np.array([step])})


def train(
    store: RunStore, config: RunConfig, show: Callable[[int], None] = lambda step: None, until: int = EPOCHS
) -> list[str]:
    """From wherever `store` continues to the end, or `until` an epoch; the notices of its recovery.

    `show` is told each epoch once it is committed.
    """
    with open_run(store, config) as session:
        session.begin(_SEGMENT)
        if session.tensors is not None:
            assert session.tensors == tensors(session.step), "weights of another step"
        for step in range(session.recorded + 1, until + 1):
            record = EvalRecord(
                epoch=step, step=step, lr=0.1, train_loss=1 / step, train_accuracy=0.5, test_loss=1.0,
                test_accuracy=step / 10,
            )  # fmt: skip
            session.append(record, TimingRecord(step=step, training_seconds=1.0, evaluation_seconds=0.5))
            session.commit(tensors(step), step, step)
            show(step)
        if until < EPOCHS:
            return session.notices
        session.end(
            RunSummary(
                run_id=config.run_id, status="finished", family=config.family, depth=config.depth,
                seed=config.seed, parameters=1, multiply_adds=1, data_hash="d", precision="fp32",
                steps=EPOCHS, step=EPOCHS, seconds=1.0,
            )
        )  # fmt: skip
        return session.notices


def signature(store: RunStore) -> tuple[bytes, bytes, bytes]:
    """Everything of a finished run that counts: weights, metrics, how it ended."""
    found = store.checkpoint()
    assert found is not None
    return found[1], *((store.folder / name).read_bytes() for name in ("metrics.jsonl", "summary.json"))
