"""Initial values, keyed by parameter name: what is added to a net moves nothing that was there."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resdeg.config import ModelConfig
from resdeg.randomness import derive


def _he(weight: Tensor, generator: torch.Generator, config: ModelConfig) -> Tensor:
    """N(0, 2/fan) (He et al. 2015, "Delving deep", eq. 10 and 14).

    fan_out for convolutions, as in the paper's code; fan_in for the classifier, whose ten outputs
    would otherwise start with logits several nats wide.
    """
    fan = weight.shape[0] * weight[0][0].numel() if weight.dim() == 4 else weight.shape[1]
    return torch.randn(weight.shape, generator=generator, device="cpu") * math.sqrt(2 / fan)


def _dirac_mixed(weight: Tensor, generator: torch.Generator, config: ModelConfig) -> Tensor:
    """a · Dirac + (1 - a) · He, a = `model.dirac` (after Zagoruyko and Komodakis 2017).

    Mixed in where a 3x3 convolution keeps its number of channels. One that does not cannot be the
    identity, and its unmatched filters would start, and stay, at zero: it keeps He's values.
    """
    he = _he(weight, generator, config)
    if weight.dim() < 4 or weight.shape[0] != weight.shape[1] or config.dirac is None:
        return he
    return config.dirac * nn.init.dirac_(torch.empty(weight.shape, device="cpu")) + (1 - config.dirac) * he


INITS: dict[str, Callable[[Tensor, torch.Generator, ModelConfig], Tensor]] = {
    "he": _he,
    "dirac-mixed": _dirac_mixed,
}


LAST_NORM = ".norm2.weight"  # of blocks whose branch ends in a norm; config refuses the others


@torch.no_grad()
def initialise(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Draw every weight matrix from the stream (seed, its name); norm scales 1, all biases 0.

    The norm that ends a branch starts at scale `model.last_scale` (Goyal et al. 2017, Sec. 5.1: 0). Drawn
    on the CPU, so every device starts from the same values.
    """
    draw = INITS[config.init]
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            generator = torch.Generator().manual_seed(derive(seed, f"init/{name}"))
            parameter.copy_(draw(parameter, generator, config))
        else:
            scale = config.last_scale if name.endswith(LAST_NORM) else 1.0
            parameter.fill_(0.0 if name.endswith("bias") else scale)
