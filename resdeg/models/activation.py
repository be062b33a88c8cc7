"""Nonlinearities, by name; each may overwrite its input where the caller has no other use for it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor, bool], Tensor]
LEAK = 0.01  # torch's default slope below zero


def _relu(x: Tensor, inplace: bool) -> Tensor:
    return functional.relu(x, inplace=inplace)


def _leaky_relu(x: Tensor, inplace: bool) -> Tensor:
    return functional.leaky_relu(x, LEAK, inplace=inplace)


def _gelu(x: Tensor, inplace: bool) -> Tensor:
    """x Phi(x) (Hendrycks and Gimpel 2016); its derivative needs x, so nothing is overwritten."""
    return functional.gelu(x)


def _none(x: Tensor, inplace: bool) -> Tensor:
    return x


ACTIVATIONS: dict[str, Activation] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "none": _none,
}
