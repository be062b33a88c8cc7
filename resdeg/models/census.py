"""What a network is made of: weighted layers, parameters, multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Census:
    """Counts of one network.

    depth: weighted layers, the stem, every 3x3 convolution and the classifier; projections left out.
    multiply_adds: of one image's forward pass through convolutions and classifier.
    outputs: numbers that the convolutions give for one image.
    """

    depth: int
    parameters: int
    multiply_adds: int
    outputs: int


def census(model: nn.Module, side: int) -> Census:
    """Count by running one image of `side` x `side` pixels through `model` (on any device, meta too)."""
    layers: list[tuple[nn.Module, int]] = []
    maps: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output[0, 0].numel() if output.dim() == 4 else 1
        layers.append((module, weight.numel() * positions))
        if output.dim() == 4:
            maps.append(output.numel())

    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [module.register_forward_hook(count) for module in weighted]
    mode = model.training
    try:
        with torch.no_grad():
            device = next(model.parameters()).device
            model.eval()(torch.zeros(1, 3, side, side, device=device))
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    projections = sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m, _ in layers)
    return Census(
        depth=len(layers) - projections,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        multiply_adds=sum(work for _, work in layers),
        outputs=sum(maps),
    )
