"""The fast forward pass of a training. It computes what `block.py` and `network.py` define.

Norm, addition and ReLU of a step are one compiled pass over a map, forward and backward (`norm_relu.cpp`),
while torch writes and reads the map between each of the three, in bf16 with a conversion each time. A 3x3
convolution of a 2x2 map is one matrix. Activations overwrite what nobody else uses. docs/performance.md says
what each of these gains. Results differ by rounding, and torch computes what does not fit.
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
from torch.nn import functional

from resdeg.models.block import BasicBlock, Block, PreactBlock, StarganBlock
from resdeg.models.network import CifarNet

LANES = 64  # the constant of the same name in norm_relu.cpp
# Maps the dtype of a feature map to the dtype of the norm's parameters.
_ARITHMETIC = {
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
_LAST = torch.channels_last


@functools.cache
def library() -> ctypes.CDLL | None:
    """Loads the compiled part; None if the installation made none, or made it from another source."""
    source = hashlib.sha256(Path(__file__).with_name("norm_relu.cpp").read_bytes()).hexdigest()
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_norm_relu{suffix}")
        if path.is_file():
            compiled = ctypes.CDLL(str(path))
            compiled.norm_relu_source.restype = ctypes.c_char_p
            if compiled.norm_relu_source() == source.encode():
                return compiled
    return None


def can_compile(device: torch.device, threads: int) -> bool:
    """Says whether a training on `device` with `threads` threads can use the compiled part."""
    return library() is not None and device.type == "cpu" and threads == 1


def use_fast_forward(model: nn.Module, *, compiled: bool) -> None:
    """Exchanges the forward passes of a network for fast ones; its parameters and their names stay.

    Args:
        compiled: whether norms use the compiled part, see `can_compile`, where their maps fit.
    """
    for module in model.modules():
        fast = FAST.get(type(module))
        if fast is not None and (fast is not Fast3x3 or module.kernel_size == (3, 3)):
            module.__class__ = fast
        if isinstance(module, FastNorms):
            module.compiled = compiled


class FastNorms:
    """A module whose norms use the compiled part if `compiled` says so."""

    compiled = False


def norm_activation(
    norm: nn.Module,
    activation: nn.Module,
    x: Tensor,
    *,
    added: Tensor | None = None,
    scale: float = 1.0,
    compiled: bool,
) -> Tensor:
    """Computes activation(norm(x) + scale · added) of maps (N, C, H, W); `x` is not written into.

    The compiled part computes it if `compiled` asks for that and the maps fit.
    """
    if (
        compiled
        and isinstance(activation, nn.ReLU)
        and isinstance(norm, nn.BatchNorm2d)
        and _fits(norm, x, added)
    ):
        arguments = (x, added, norm.weight, norm.bias, norm, scale)
        out: Tensor = _NormReLU.apply(*arguments)  # type: ignore[no-untyped-call]
        return out
    out = norm(x)
    if added is not None:
        out = torch.add(out, added, alpha=scale)
    if out is not x and isinstance(activation, nn.ReLU):
        return functional.relu(out, inplace=True)
    if out is not x and isinstance(activation, nn.LeakyReLU):
        return functional.leaky_relu(out, activation.negative_slope, inplace=True)
    result: Tensor = activation(out)
    return result


class _FastResidual(FastNorms, Block):
    def second(self, x: Tensor) -> Tensor:
        """Computes what leaves conv2, before its norm."""
        active = norm_activation(self.norm1, self.inner_activation, self.conv1(x), compiled=self.compiled)
        out: Tensor = self.conv2(active)
        return out

    def residual(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm2(self.second(x))
        return out


class FastBasicBlock(_FastResidual, BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        added = None if self.shortcut is None else self.shortcut(x)
        return norm_activation(
            self.norm2, self.activation, self.second(x), added=added, scale=self.scale, compiled=self.compiled
        )


class FastStarganBlock(_FastResidual, StarganBlock):
    pass


class FastPreactBlock(FastNorms, PreactBlock):
    def preactivated(self, x: Tensor) -> Tensor:
        return norm_activation(self.norm1, self.activation, x, compiled=self.compiled)

    def convolved(self, active: Tensor) -> Tensor:
        x = norm_activation(self.norm2, self.inner_activation, self.conv1(active), compiled=self.compiled)
        out: Tensor = self.conv2(x)
        return out


class FastNet(FastNorms, CifarNet):
    def entering(self, images: Tensor) -> Tensor:
        x: Tensor = self.stem(images)
        if not self.kind.stem:
            return x
        return norm_activation(self.stem_norm, self.activation, x, compiled=self.compiled)

    def closed(self, x: Tensor) -> Tensor:
        if not self.closes:
            return x
        return norm_activation(self.closing_norm, self.activation, x, compiled=self.compiled)


# The tap that leads from each input position of a 2x2 map to each output position.
_POSITIONS = [(y, x) for y in range(2) for x in range(2)]
_TAPS = torch.tensor([3 * (y - v + 1) + (x - u + 1) for v, u in _POSITIONS for y, x in _POSITIONS])


class Fast3x3(nn.Conv2d):
    """A 3x3 convolution that is one matrix on a 2x2 map, which the last stage of 8x8 images has.

    There every output sees every input by exactly one tap. On a CPU the product with the matrix takes a third
    of the time of the library's convolution and its gradients.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == (2, 2) and self.stride == (1, 1) and x.device.type == "cpu":
            return _on_2x2(x, self.weight)
        return super().forward(x)


def _on_2x2(x: Tensor, weight: Tensor) -> Tensor:
    leaving, entering = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(leaving, 9, entering).index_select(1, _TAPS)
    matrix = taps.view(leaving, 4, 4 * entering).transpose(0, 1).reshape(4 * leaving, 4 * entering)
    flat = x.permute(0, 2, 3, 1).reshape(len(x), 4 * entering)
    return functional.linear(flat, matrix).view(len(x), 2, 2, leaving).permute(0, 3, 1, 2)


FAST: dict[type[nn.Module], type[nn.Module]] = {
    BasicBlock: FastBasicBlock,
    StarganBlock: FastStarganBlock,
    PreactBlock: FastPreactBlock,
    CifarNet: FastNet,
    nn.Conv2d: Fast3x3,
}


def _fits(norm: nn.BatchNorm2d, x: Tensor, added: Tensor | None) -> bool:
    channels, numbers = norm.num_features, x.numel()
    return (
        (norm.training or _evaluates(x))
        and x.is_contiguous(memory_format=_LAST)
        and _ARITHMETIC.get(x.dtype) == norm.weight.dtype
        and (LANES % channels == 0 or channels % LANES == 0)
        and numbers % LANES == 0
        and numbers > channels  # one pixel has no variance, and torch says so
        and (
            added is None
            or (
                added.shape == x.shape and added.dtype == x.dtype and added.is_contiguous(memory_format=_LAST)
            )
        )
    )


def _evaluates(x: Tensor) -> bool:
    # In fp32 torch evaluates, so that whoever scores the weights again, such as `resdeg diagnose`, finds the
    # same bits. In bf16 the rounding of the maps makes a difference anyway.
    return x.dtype == torch.bfloat16 and not torch.is_grad_enabled()


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - torch's `apply` takes no keywords
        ctx: Any,
        x: Tensor,
        added: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        scale: float,
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
    """Calls the function `name` of the library for the dtype of `maps`.

    Args:
        maps: (N, C, H, W) each, channels_last; the first is not None.
        tensors: (C,) each.
        numbers: the settings that follow them.
    """
    first = maps[0]
    assert first is not None
    channels = first.shape[1]
    function = getattr(library(), f"{name}_{str(first.dtype).removeprefix('torch.')}")
    function(
        *map(_pointer, maps),
        ctypes.c_long(first.numel() // channels),
        ctypes.c_long(channels),
        *map(_pointer, tensors),
        *map(ctypes.c_double, numbers),
    )


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
