"""A run made of weights that another program trained; and a run's weights for other programs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from resdeg import data, files
from resdeg.config import Family, RunConfig
from resdeg.data.images import Dataset
from resdeg.errors import UsageError, did_you_mean
from resdeg.models.foreign import NAMED, Padding, Recognised, exported, recognise
from resdeg.models.weights_file import read_weights, write_weights
from resdeg.records import EvalRecord, Origin, RunSummary
from resdeg.runner.check import count_network
from resdeg.runner.log import RunLog
from resdeg.runner.provenance import describe_segment
from resdeg.runner.restore import load_model
from resdeg.runner.trainer import Trainer
from resdeg.store import RunStore, open_run
from resdeg.training.evaluate import name_scores
from resdeg.training.state import weights_to_bytes

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Weights:
    """A file that was read and recognised: its network, and the size and the SHA-256 of its bytes."""

    path: Path
    network: Recognised
    bytes: int
    sha256: str


def read_network(
    path: Path, *, family: Family | None = None, depth: int | None = None, padding: Padding | None = None
) -> Weights:
    """Reads the network in a file; see `recognise` for what may be asked of it.

    Raises:
        UsageError, DataError: see `read_weights` and `recognise`.
    """
    network = recognise(str(path), read_weights(path), family, depth=depth, padding=padding)
    content = files.read(path) or b""
    return Weights(path, network, len(content), hashlib.sha256(content).hexdigest())


def adopt(
    config: RunConfig,
    weights: Weights,
    *,
    store: RunStore,
    data_dir: Path | None,
    licence: str | None = None,
    address: str | None = None,
    trained: str | None = None,
    warn: Callable[[str], None] = lambda notice: None,
) -> RunSummary:
    """Measures the weights of an adopted run on the CPU, and stores them as a run that has ended.

    Args:
        config: the run's settings; `adopted` says how its input is standardised.
        data_dir: the folder of the data set, see `resdeg.data.load`.
        licence, address, trained: what is known of the file, in words, see `Origin`.
        warn: is called with each notice of the store, as of a damaged checkpoint.

    Returns:
        The summary that is stored; a run that was measured before is not measured again.

    Raises:
        UsageError: the run of this name holds other weights.
        DataError, StorageError: the data cannot be read, or the disk refuses.
    """
    assert config.adopted is not None
    origin = Origin(
        source=config.adopted.source,
        file=weights.path.name,
        bytes=weights.bytes,
        sha256=weights.sha256,
        layout=weights.network.layout,
        padding=weights.network.padding,
        licence=licence,
        address=address,
        trained=trained,
    )
    before, summary = store.origin(), store.summary()
    if before is not None and before.sha256 != origin.sha256:
        raise UsageError(
            f"{config.run_id} holds other weights: {before.file}, SHA-256 {before.sha256[:12]}...",
            "give --seed, --source or --out, which tell them apart",
        )
    if summary is not None:  # The run is not opened, because published runs have no checkpoint to go on from.
        store.config()  # This refuses the settings of another run.
        notices: list[str] = []
        store.checkpoint(notices)
        for notice in notices:
            warn(notice)
        return summary
    with open_run(store, config) as session:
        dataset = data.load(config.data, data_dir)
        trainer = load_adopted(config, weights, dataset=dataset)
        log = RunLog(config, session, counts=count_network(config, CPU))
        files.write(store.folder / "origin.json", origin.to_json().encode() + b"\n")
        segment = describe_segment(config, dataset, device=CPU, step=trainer.closing[-1])
        log.open(segment, closing=trainer.closing)
        for notice in session.notices:
            warn(notice)
        summary = _measure(trainer, log)
        session.end(summary)
        return summary


def _measure(trainer: Trainer, log: RunLog) -> RunSummary:
    """Scores an adopted network, and stores a record and its weights, as if its last epoch had just ended."""
    schedule, session = trainer.phase.schedule, log.session
    log.clock.turn_to("evaluation")
    record = EvalRecord(
        epoch=len(schedule.closing),
        step=schedule.last,
        lr=schedule.rate_at(schedule.last - 1),
        train_loss=None,
        train_accuracy=None,
        **name_scores(trainer.score_held_out()),
    )
    if session.recorded < record.step:
        session.append(record, log.clock.record(record.step))
        session.commit(weights_to_bytes(trainer.state.model), record.step, record.step)
    log.clock.turn_to("clean")
    return log.finish(record, trainer.score_training_images())


@torch.no_grad()
def load_adopted(config: RunConfig, weights: Weights, *, dataset: Dataset) -> Trainer:
    """Loads the network of an adopted run into a trainer, which only scores it on `dataset`."""
    trainer = Trainer.from_config(config, dataset, device=CPU)
    loaded = weights.network.model.state_dict()
    for name, value in trainer.state.model.state_dict().items():
        value.copy_(loaded[name])
    return trainer


def export_weights(folder: Path, *, layout: str, out: Path) -> None:
    """Writes the trained network of a run under the names of another program.

    Args:
        folder: results/<sweep>/runs/<run_id>.
        layout: a name in NAMED.

    Raises:
        UsageError: the layout is not known or cannot hold the network, or `out` has another ending.
        StorageError: the run has no checkpoint, or the disk refuses.
    """
    if layout not in NAMED:
        raise UsageError(f"--layout {layout} is not known", did_you_mean(layout, NAMED))
    run = RunStore(folder).config()
    write_weights(out, exported(load_model(folder), run.family, run.model, layout))
