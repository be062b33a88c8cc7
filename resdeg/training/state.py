"""What a training takes from one step to the next, and its form on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resdeg.errors import StorageError
from resdeg.training.schedule import Schedule


@dataclass
class TrainState:
    """Weights, buffers, momentum, the step, and the running sums of the epoch under way.

    losses, correct: (longest epoch in steps,) float32, one entry per step since the last record; they lie
        on the device, so that no step waits for the host.
    """

    model: nn.Module
    optimizer: torch.optim.SGD
    losses: Tensor
    correct: Tensor
    step: int = 0


def new_state(model: nn.Module, schedule: Schedule) -> TrainState:
    """Makes the state before the first step of `schedule`; `model` is on the device where it will train."""
    config = schedule.config
    parameters = list(model.parameters())
    device = parameters[0].device
    optimizer = torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,  # It applies to all parameters, norm scales and biases too.
        fused=device.type in ("cpu", "cuda"),
    )
    if config.momentum:
        for parameter in parameters:
            # Zeros give the same first step as no buffer does, and the state has one form from the start.
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    losses, correct = torch.zeros(2, schedule.longest_epoch, device=device)
    return TrainState(model, optimizer, losses.clone(), correct.clone(), schedule.first)


def name_tensors(state: TrainState) -> dict[str, Tensor]:
    """Returns every tensor of the state by name: the tensors themselves, not copies."""
    named = _model_tensors(state.model)
    for name, parameter in state.model.named_parameters():
        if "momentum_buffer" in state.optimizer.state[parameter]:
            named[f"momentum.{name}"] = state.optimizer.state[parameter]["momentum_buffer"]
    return named | {"running.losses": state.losses, "running.correct": state.correct}


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {f"model.{name}": value for name, value in model.state_dict().items()}


def find_difference(first: TrainState, second: TrainState) -> str | None:
    """Returns the name of the first tensor whose bits differ in two states of one network, or None."""
    others = name_tensors(second)
    for name, tensor in name_tensors(first).items():
        pair = [each.detach().cpu().contiguous().numpy().tobytes() for each in (tensor, others[name])]
        if pair[0] != pair[1]:
            return name
    return None


def momentum_distance(first: TrainState, second: TrainState) -> float:
    """Computes the norm of the difference of two states' momentum, as a share of that of the first."""
    apart = size = 0.0
    others = name_tensors(second)
    for name, tensor in name_tensors(first).items():
        if name.startswith("momentum."):
            apart += (tensor - others[name]).double().square().sum().item()
            size += tensor.double().square().sum().item()
    return math.sqrt(apart / size)


def to_bytes(state: TrainState) -> bytes:
    """Writes the tensors in the safetensors format; the store keeps the step."""
    return _write_tensors(name_tensors(state))


def weights_to_bytes(model: nn.Module) -> bytes:
    """Writes only the weights and buffers: `load_weights` reads them, and no training continues from them."""
    return _write_tensors(_model_tensors(model))


def _write_tensors(named: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save(
        {name: tensor.detach().contiguous().cpu() for name, tensor in named.items()}
    )


@torch.no_grad()
def load_bytes(state: TrainState, content: bytes, step: int) -> None:
    """Puts what `to_bytes` wrote into `state`, which has the same network and settings.

    Raises:
        StorageError: names or shapes are not those of `state`.
    """
    _copy_tensors(_read_tensors(content), name_tensors(state))
    state.step = step


@torch.no_grad()
def load_weights(model: nn.Module, content: bytes) -> None:
    """Puts the weights and buffers of what `to_bytes` or `weights_to_bytes` wrote into `model`.

    Raises:
        StorageError: names or shapes are not those of `model`.
    """
    loaded = {name: value for name, value in _read_tensors(content).items() if name.startswith("model.")}
    _copy_tensors(loaded, _model_tensors(model))


def _read_tensors(content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise StorageError(f"checkpoint is not a safetensors file: {error}") from error


def _copy_tensors(loaded: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    if loaded.keys() != own.keys() or any(loaded[name].shape != own[name].shape for name in own):
        raise StorageError("checkpoint belongs to another network", "give another --out, or --fresh")
    for name, tensor in own.items():
        tensor.copy_(loaded[name])
