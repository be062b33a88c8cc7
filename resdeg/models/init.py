"""Initial values, keyed by parameter name, so that a part that is added to a net moves no other part."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resdeg.config import ModelConfig
from resdeg.randomness import derive


def _he(weight: Tensor, generator: torch.Generator, config: ModelConfig) -> Tensor:
    """Draws from N(0, 2/fan) (He et al. 2015, "Delving deep", eq. 10 and 14).

    Convolutions have fan_out, as in the paper's code. The classifier has fan_in, because its ten outputs
    would otherwise start with logits several nats wide.
    """
    fan = weight.shape[0] * weight[0][0].numel() if weight.dim() == 4 else weight.shape[1]
    return torch.randn(weight.shape, generator=generator, device="cpu") * math.sqrt(2 / fan)


def _dirac_mixed(weight: Tensor, generator: torch.Generator, config: ModelConfig) -> Tensor:
    """Draws a · Dirac + (1 - a) · He, a = `model.dirac` (after Zagoruyko and Komodakis 2017).

    Dirac is mixed in where a 3x3 convolution keeps its number of channels. Another one cannot be the
    identity, and its unmatched filters would start, and stay, at zero, so it has He's values.
    """
    he = _he(weight, generator, config)
    if config.dirac is None or not _keeps_channels(weight):
        return he
    return config.dirac * nn.init.dirac_(torch.empty(weight.shape, device="cpu")) + (1 - config.dirac) * he


def _orthogonal(weight: Tensor, generator: torch.Generator, config: ModelConfig) -> Tensor:
    """Draws delta-orthogonal weights (Xiao et al. 2018, arXiv:1806.05393): an isometry, not the identity.

    The centre of a kernel is an orthogonal matrix drawn from the Haar measure, and its other taps are 0, so
    the layer turns the channels of every pixel alike and keeps the norm of its input. It is the control of
    the identity start (`_dirac_mixed` with a = 1). A control differs in only one thing, so it changes the
    layers that the identity start changes, and no other. The stem, the convolutions that do not keep their
    number of channels, and the classifier have He's values.
    """
    if not _keeps_channels(weight):
        return _he(weight, generator, config)
    kernel = torch.zeros(weight.shape, device="cpu")
    kernel[:, :, weight.shape[2] // 2, weight.shape[3] // 2] = _haar(weight.shape[0], generator)
    return kernel


def _keeps_channels(weight: Tensor) -> bool:
    """Says whether `weight` is a convolution that could be the identity: as many channels leave as enter."""
    return weight.dim() == 4 and weight.shape[0] == weight.shape[1]


def _haar(size: int, generator: torch.Generator) -> Tensor:
    """Draws a (size, size) orthogonal matrix from the Haar measure (Mezzadri 2007, arXiv:math-ph/0609050).

    The Q of a Gaussian matrix is Haar-distributed once the diagonal of R is positive, and LAPACK does not fix
    its signs. The work is done in float64, so that the float32 values hardly depend on a machine's rounding.
    """
    gaussian = torch.randn(size, size, generator=generator, dtype=torch.float64, device="cpu")
    orthogonal, triangular = torch.linalg.qr(gaussian)
    return torch.where(triangular.diagonal() < 0, -orthogonal, orthogonal).float()


INITS: dict[str, Callable[[Tensor, torch.Generator, ModelConfig], Tensor]] = {
    "he": _he,
    "dirac-mixed": _dirac_mixed,
    "orthogonal": _orthogonal,
}


LAST_NORM = ".norm2.weight"  # names it in blocks whose branch ends in a norm; config refuses the others


@torch.no_grad()
def initialise(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Draws every weight matrix from the stream (seed, its name); norm scales start at 1, all biases at 0.

    The norm that ends a branch starts at scale `model.last_scale` (Goyal et al. 2017, Sec. 5.1: 0). The CPU
    draws, so every device starts from the same values.
    """
    draw = INITS[config.init]
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            generator = torch.Generator().manual_seed(derive(seed, f"init/{name}"))
            parameter.copy_(draw(parameter, generator, config))
        else:
            scale = config.last_scale if name.endswith(LAST_NORM) else 1.0
            parameter.fill_(0.0 if name.endswith("bias") else scale)
