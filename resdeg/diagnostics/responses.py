"""The standard deviation of each layer's response."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode
from resdeg.models.structure import layers


@torch.no_grad()
def response_std(model: CifarNet, batches: Iterable[Tensor]) -> Tensor:
    """Measures the standard deviation of each 3x3 layer's response (He et al. 2015, Sec. 4.2, Fig. 7).

    The network is in evaluation mode. The deviation is over all images, positions and channels of a layer
    together, so differences between the means of its channels count.

    Args:
        batches: (N, 3, H, W) each, standardised; a few hundred images are enough.

    Returns:
        (depth - 1,) float64, stem first.
    """
    numbered = layers(model)
    sums = torch.zeros(len(numbered), 3, dtype=torch.float64, device="cpu")

    def add(index: int, response: Tensor) -> None:
        # The sums are taken at once, because the nonlinearity behind may write into the same memory.
        values = response.double()
        sums[index] += torch.stack([torch.ones_like(values).sum(), values.sum(), values.square().sum()]).cpu()

    def hook(index: int, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda module, inputs, output: add(index, output))

    hooks = [hook(index, layer.response) for index, layer in enumerate(numbered)]
    try:
        with in_mode(model, training=False):
            for images in batches:
                model(images)
    finally:
        for handle in hooks:
            handle.remove()
    count, total, square = sums.T
    variance: Tensor = square / count - (total / count) ** 2
    return variance.clamp(min=0).sqrt()


def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Measures `std` of every layer on held-out images."""
    deviations = response_std(model, sample.batches()).tolist()
    return [
        Number.from_layer(layer, "std", value, images=len(sample))
        for layer, value in zip(layers(model), deviations, strict=True)
    ]
