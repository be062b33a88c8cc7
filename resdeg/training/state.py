"""All that a training carries from one step to the next, and its form on disk."""

from __future__ import annotations

from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resdeg.config import TrainingConfig
from resdeg.errors import StorageError


@dataclass
class TrainState:
    """Weights, buffers, momentum, the step, and the running sums of the epoch under way.

    losses, correct: (longest epoch in steps,) float32, one entry per step since the last record,
        on the device, so that no step waits for the host.
    """

    model: nn.Module
    optimizer: torch.optim.SGD
    losses: Tensor
    correct: Tensor
    step: int = 0


def new_state(model: nn.Module, config: TrainingConfig, longest_epoch: int) -> TrainState:
    """The state before the first step; `model` is where it will train."""
    parameters = list(model.parameters())
    device = parameters[0].device
    optimizer = torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,  # on all parameters, norm scales and biases too
        fused=device.type in ("cpu", "cuda"),
    )
    if config.momentum:
        for parameter in parameters:
            # Zeros give the first step that no buffer gives, and the state one form from the start.
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    losses, correct = torch.zeros(2, longest_epoch, device=device)
    return TrainState(model, optimizer, losses.clone(), correct.clone())


def _tensors(state: TrainState) -> dict[str, Tensor]:
    """Every tensor of the state by name; the tensors themselves, not copies."""
    named = _of_model(state.model)
    for name, parameter in state.model.named_parameters():
        if "momentum_buffer" in state.optimizer.state[parameter]:
            named[f"momentum.{name}"] = state.optimizer.state[parameter]["momentum_buffer"]
    return named | {"running.losses": state.losses, "running.correct": state.correct}


def _of_model(model: nn.Module) -> dict[str, Tensor]:
    return {f"model.{name}": value for name, value in model.state_dict().items()}


def to_bytes(state: TrainState) -> bytes:
    """The tensors in the safetensors format; the step is the store's to keep."""
    return _saved(_tensors(state))


def weights_to_bytes(model: nn.Module) -> bytes:
    """The weights and buffers alone, likewise: what `load_weights` reads, and nothing to go on from."""
    return _saved(_of_model(model))


def _saved(named: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().contiguous().cpu() for k, v in named.items()})


@torch.no_grad()
def load_bytes(state: TrainState, content: bytes, step: int) -> None:
    """Put what `to_bytes` gave into `state`, which has the same network and settings.

    Raises:
        StorageError: names or shapes are not those of `state`.
    """
    _copy(_parsed(content), _tensors(state))
    state.step = step


@torch.no_grad()
def load_weights(model: nn.Module, content: bytes) -> None:
    """Put the weights and buffers in what `to_bytes` or `weights_to_bytes` gave into `model`.

    Raises:
        StorageError: names or shapes are not those of `model`.
    """
    loaded = {name: value for name, value in _parsed(content).items() if name.startswith("model.")}
    _copy(loaded, _of_model(model))


def _parsed(content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise StorageError(f"checkpoint is not a safetensors file: {error}") from error


def _copy(loaded: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    if loaded.keys() != own.keys() or any(loaded[k].shape != own[k].shape for k in own):
        raise StorageError("checkpoint belongs to another network", "give another --out, or --fresh")
    for name, tensor in own.items():
        tensor.copy_(loaded[name])
