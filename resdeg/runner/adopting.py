"""A run made of weights that another program trained; and a run's weights for other programs."""

from __future__ import annotations

import hashlib
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
from resdeg.runner import Ending, count, load_model
from resdeg.runner.clock import Clock
from resdeg.runner.live import Training
from resdeg.runner.parts import parts
from resdeg.runner.provenance import segment
from resdeg.store import RunStore, open_run
from resdeg.training.evaluate import Score
from resdeg.training.schedule import learning_rate
from resdeg.training.state import weights_to_bytes

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Weights:
    """A file that was read and recognised: its network, and what its bytes are."""

    path: Path
    network: Recognised
    bytes: int
    sha256: str


def read_network(
    path: Path, family: Family | None = None, depth: int | None = None, padding: Padding | None = None
) -> Weights:
    """The network in a file; see `recognise` for what may be asked of it.

    Raises:
        UsageError, DataError: see `read_weights` and `recognise`.
    """
    network = recognise(str(path), read_weights(path), family, depth=depth, padding=padding)
    content = files.read(path) or b""
    return Weights(path, network, len(content), hashlib.sha256(content).hexdigest())


def adopt(
    config: RunConfig,
    weights: Weights,
    store: RunStore,
    data_folder: Path | None,
    licence: str | None = None,
    address: str | None = None,
    trained: str | None = None,
) -> RunSummary:
    """Measure the weights of an adopted run on the CPU, and store them as a run that has ended.

    Args:
        config: of the run; `adopted` says how its input is standardised.
        data_folder: where the data set is, see `resdeg.data.load`.
        licence, address, trained: of the file, in words, see `Origin`.

    Returns:
        The summary that is stored; one that was there already is not measured again.

    Raises:
        UsageError: other weights stand under this name.
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
    with open_run(store, config) as session:
        before, summary = store.origin(), store.summary()
        if before is not None and before.sha256 != origin.sha256:
            raise UsageError(
                f"{config.run_id} holds other weights: {before.file}, SHA-256 {before.sha256[:12]}...",
                "give --seed, --source or --out, which tell them apart",
            )
        if summary is not None:
            return summary
        dataset = data.load(config.data, data_folder)
        closing = parts(config, len(dataset.train))[-1].closing
        step = closing[-1]
        training = loaded(config, weights, dataset)
        end = Ending(config, count(config, CPU), data_hash=dataset.hash, steps=step)
        files.write(store.folder / "origin.json", origin.to_json().encode() + b"\n")
        session.begin(segment(config, dataset, CPU, step))
        clock = Clock()
        clock.turn_to("evaluation")
        held: dict[str, Score] = {}
        for name, split in training.inputs.held.items():
            held |= training.scores(name, *split, _never)
        numbers = {f"{name}_loss": score.loss for name, score in held.items()}
        numbers |= {f"{name}_accuracy": score.accuracy for name, score in held.items()}
        if session.recorded < step:
            record = EvalRecord(
                epoch=len(closing),
                step=step,
                lr=learning_rate(config.training, step - 1, step),
                train_loss=None,
                train_accuracy=None,
                **numbers,
            )
            session.append(record, clock.record(step))
            session.commit(weights_to_bytes(training.state.model), step, step)
        clock.turn_to("clean")
        inputs = training.inputs
        clean = training.scores("train", inputs.images, inputs.labels, _never) | training.recomputed(_never)
        end.clean_seconds = clock.record(step).clean_seconds
        summary = end(
            "finished",
            session,
            step=step,
            **numbers,
            **{f"{name}_loss": score.loss for name, score in clean.items()},
            **{f"{name}_accuracy": score.accuracy for name, score in clean.items()},
        )
        session.end(summary)
        return summary


def _never() -> bool:
    return False


@torch.no_grad()
def loaded(config: RunConfig, weights: Weights, dataset: Dataset) -> Training:
    """The network of an adopted run with its weights, and the data set as its input, for scores alone."""
    training = Training.of(config, dataset, CPU)
    given = weights.network.model.state_dict()
    for name, value in training.state.model.state_dict().items():
        value.copy_(given[name])
    return training


def export_weights(folder: Path, layout: str, out: Path) -> None:
    """Write the trained network of a run under the names of another program.

    Args:
        folder: results/<sweep>/runs/<run_id>.
        layout: of NAMED.

    Raises:
        UsageError: the layout is not known or has no place for the network, or `out` has another ending.
        StorageError: the run has no checkpoint, or the disk refuses.
    """
    if layout not in NAMED:
        raise UsageError(f"--layout {layout} is not known", did_you_mean(layout, NAMED))
    run = RunStore(folder).config()
    write_weights(out, exported(load_model(folder), run.family, run.model, layout))
