"""The network of a run, taken out of its store, or as it was before any step."""

from __future__ import annotations

from pathlib import Path

from resdeg import data
from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.models import CifarNet, build_model
from resdeg.runner.phases import plan_phases
from resdeg.store import NO_CHECKPOINT, RunStore
from resdeg.training.state import load_weights


def load_model(folder: Path | str) -> CifarNet:
    """Loads the trained network of a run, in evaluation mode on the CPU, from its newest whole checkpoint.

    Args:
        folder: results/<sweep>/runs/<run_id>.

    Raises:
        StorageError: no checkpoint is there (published sweeps keep only their records, and `resdeg prune`
            frees checkpoints), or none whose hashes hold.
    """
    store = RunStore(Path(folder))
    checkpoint = store.checkpoint()
    if checkpoint is None:
        raise StorageError(f"{folder}: {NO_CHECKPOINT}", "train the run anew with --fresh")
    manifest, tensors = checkpoint
    return model_at(store.config(), manifest.step, tensors=tensors)


def model_at(config: RunConfig, step: int, *, tensors: bytes) -> CifarNet:
    """Loads the network of `config` after `step`, in evaluation mode on the CPU.

    Args:
        tensors: those of a checkpoint or a snapshot of that step.

    Raises:
        StorageError: the tensors belong to another network.
    """
    phases = plan_phases(config, data.shape(config.data).train)
    model = initial_model(next(phase.config for phase in phases if step <= phase.schedule.last))
    load_weights(model, tensors)
    return model


def initial_model(config: RunConfig) -> CifarNet:
    """Builds the network of `config` before any step, in evaluation mode on the CPU.

    A constructed run begins with another: the initial one of `config.shallow`.
    """
    classes = data.shape(config.data).classes
    return build_model(config.family, config.depth, config.seed, config.model, classes=classes).eval()
