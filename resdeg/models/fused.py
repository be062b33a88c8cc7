"""Norm, addition and ReLU of a training step at once, on one CPU thread.

torch writes and reads a map between each of the three, in bf16 with a conversion each time. The compiled
`norm_relu.cpp` does them together, forward and backward (docs/performance.md says what that gives). It is
optional: without it, and wherever it does not fit, the operations are torch's; results differ by rounding.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from resdeg.models.activation import ACTIVATIONS, Activation
from resdeg.models.norm import BatchNorm

LANES = 64  # of norm_relu.cpp
# Of a map's type, that of the norm's own numbers.
_ARITHMETIC = {
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
_LAST = torch.channels_last


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled part; None where none was made when resdeg was installed, or it is of another source."""
    source = hashlib.sha256(Path(__file__).with_name("norm_relu.cpp").read_bytes()).hexdigest()
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_norm_relu{suffix}")
        if path.is_file():
            compiled = ctypes.CDLL(str(path))
            compiled.norm_relu_source.restype = ctypes.c_char_p
            if compiled.norm_relu_source() == source.encode():
                return compiled
    return None


def can_fuse(device: torch.device, threads: int) -> bool:
    """Whether norms of a training there can take along what follows them."""
    return library() is not None and device.type == "cpu" and threads == 1


def fuse(model: nn.Module) -> None:
    """Let every batch norm of `model` take along what follows it, where `can_fuse` and the maps fit."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.fused = True


def activated(
    norm: nn.Module, activation: Activation, x: Tensor, added: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """activation(norm(x) + scale · added), all of shape (N, C, H, W); x is not written into."""
    if isinstance(norm, BatchNorm) and activation is ACTIVATIONS["relu"] and _fits(norm, x, added):
        arguments = (x, added, norm.weight, norm.bias, norm, scale)
        out: Tensor = _NormReLU.apply(*arguments)  # type: ignore[no-untyped-call]
        return out
    out = norm(x)
    if added is not None:
        out = torch.add(out, added, alpha=scale)
    return activation(out, out is not x)


def _fits(norm: BatchNorm, x: Tensor, added: Tensor | None) -> bool:
    channels, numbers = norm.num_features, x.numel()
    return (
        norm.fused
        and (norm.training or _evaluates(x))
        and x.is_contiguous(memory_format=_LAST)
        and _ARITHMETIC.get(x.dtype) == norm.weight.dtype
        and (LANES % channels == 0 or channels % LANES == 0)
        and numbers % LANES == 0
        and numbers > channels  # of one pixel there is no variance; torch says so
        and (
            added is None
            or (
                added.shape == x.shape and added.dtype == x.dtype and added.is_contiguous(memory_format=_LAST)
            )
        )
    )


def _evaluates(x: Tensor) -> bool:
    # In fp32 evaluation is torch's: whoever scores the weights again, `resdeg diagnose` first of all, finds
    # the same bits. In bf16 it is the rounding of the maps that makes the difference anyway.
    return x.dtype == torch.bfloat16 and not torch.is_grad_enabled()


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, norm: BatchNorm, scale: float
    ) -> Tensor:
        y = torch.empty_like(x)
        mean = inverse = None
        if norm.training:
            mean, inverse = torch.empty_like(weight), torch.empty_like(weight)  # (C,); 1/sqrt(var + eps)
        tensors = (weight, bias, norm.running_mean, norm.running_var, mean, inverse)
        numbers = (norm.eps, norm.momentum, scale)
        call("norm_relu", (x, added, y), tensors, numbers)
        ctx.save_for_backward(x, y, weight, mean, inverse)
        ctx.scale = None if added is None else scale
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, mean, inverse = ctx.saved_tensors
        dx = torch.empty_like(x)
        before = None if ctx.scale is None else torch.empty_like(x)
        dweight, dbias = torch.empty_like(weight), torch.empty_like(weight)
        maps = (x, y, dy.contiguous(memory_format=_LAST), before, dx)
        call("norm_relu_backward", maps, (weight, mean, inverse, dweight, dbias))
        dadded = before if before is None or ctx.scale == 1 else before * ctx.scale
        return dx, dadded, dweight, dbias, None, None


def call(
    name: str,
    maps: tuple[Tensor | None, ...],
    tensors: tuple[Tensor | None, ...],
    numbers: tuple[Any, ...] = (),
) -> None:
    """Call `name` of the library for the type of `maps`: (N, C, H, W) channels_last each, the first not None.

    tensors: (C,) each; numbers: the settings behind them.
    """
    first = maps[0]
    assert first is not None
    channels = first.shape[1]
    of = getattr(library(), f"{name}_{str(first.dtype).removeprefix('torch.')}")
    of(
        *map(_pointer, maps),
        ctypes.c_long(first.numel() // channels),
        ctypes.c_long(channels),
        *map(_pointer, tensors),
        *map(ctypes.c_double, numbers),
    )


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
