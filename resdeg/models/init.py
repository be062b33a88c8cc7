"""Initial values, keyed by parameter name: what is added to a net moves nothing that was there."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resdeg.randomness import derive


def _he(weight: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, 2/fan) (He et al. 2015, "Delving deep", eq. 10 and 14).

    fan_out for convolutions, as in the paper's code; fan_in for the classifier, whose ten outputs
    would otherwise start with logits several nats wide.
    """
    fan = weight.shape[0] * weight[0][0].numel() if weight.dim() == 4 else weight.shape[1]
    return torch.randn(weight.shape, generator=generator, device="cpu") * math.sqrt(2 / fan)


INITS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"he": _he}


@torch.no_grad()
def initialise(model: nn.Module, kind: str, seed: int) -> None:
    """Draw every weight matrix from the stream (seed, its name); norm scales 1, all biases 0.

    Drawn on the CPU, so every device starts from the same values.
    """
    draw = INITS[kind]
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            generator = torch.Generator().manual_seed(derive(seed, f"init/{name}"))
            parameter.copy_(draw(parameter, generator))
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
