"""Blocks: F and the shortcut around it. A plain block is the same F without the addition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from resdeg.models.activation import Activation
from resdeg.models.convolution import Conv3x3
from resdeg.models.fused import activated
from resdeg.models.norm import Norm


@dataclass(frozen=True)
class Place:
    """Where a block stands: channels that enter and leave, stride, whether it is the first of the net."""

    entering: int
    leaving: int
    stride: int = 1
    first: bool = False


@dataclass(frozen=True)
class Parts:
    """What a block is made of beside its convolutions.

    inner: the nonlinearity of F between its convolutions; activation: all others.
    shortcut: the path around F, None for the plain family; scale: the factor on it (lambda).
    """

    norm: Norm
    activation: Activation
    inner: Activation
    shortcut: nn.Module | None
    scale: float = 1.0


class Block(nn.Module):
    """Two 3x3 convolutions with their norms, and the addition; a kind says in which order.

    `residual` is F: (N, entering, H, W) to (N, leaving, H/stride, W/stride).
    """

    def __init__(self, place: Place, parts: Parts) -> None:
        super().__init__()
        self.activation, self.inner = parts.activation, parts.inner
        self.shortcut, self.scale = parts.shortcut, parts.scale
        self.conv1 = Conv3x3(place.entering, place.leaving, place.stride)
        self.norm1 = parts.norm(place.leaving)
        self.conv2 = Conv3x3(place.leaving, place.leaving)
        self.norm2 = parts.norm(place.leaving)

    def second(self, x: Tensor) -> Tensor:
        """What leaves conv2, before its norm."""
        out: Tensor = self.conv2(activated(self.norm1, self.inner, self.conv1(x)))
        return out

    def residual(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm2(self.second(x))
        return out

    def responses(self) -> tuple[nn.Module, nn.Module]:
        """The modules that give the responses of conv1 and conv2: the norm behind each, or itself."""
        return self.norm1, self.norm2

    def add(self, out: Tensor, x: Tensor) -> Tensor:
        """`out` + lambda · shortcut(x); `out` itself in the plain family."""
        return out if self.shortcut is None else torch.add(out, self.shortcut(x), alpha=self.scale)


class BasicBlock(Block):
    """a(F(x) + shortcut(x)), F = norm(conv(a(norm(conv(x))))) (He et al. 2015, Fig. 2)."""

    def forward(self, x: Tensor) -> Tensor:
        around = None if self.shortcut is None else self.shortcut(x)
        return activated(self.norm2, self.activation, self.second(x), around, self.scale)


class StarganBlock(Block):
    """F(x) + shortcut(x) with no activation behind it: the residual unit of the notes.

    With norm "instance" it is StarGAN's unit to the letter (Choi et al. 2018).
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.residual(x), x)


class PreactBlock(Block):
    """F(x) + shortcut(x), F = conv(a(norm(conv(a(norm(x)))))) (He et al. 2016, Fig. 1b and Sec. 3).

    The first block of the net activates before the two paths part, as the paper's does.
    """

    def __init__(self, place: Place, parts: Parts) -> None:
        super().__init__(place, parts)
        self.norm1 = parts.norm(place.entering)
        self.first = place.first

    def responses(self) -> tuple[nn.Module, nn.Module]:
        return self.norm2, self.conv2

    def preactivated(self, x: Tensor) -> Tensor:
        return activated(self.norm1, self.activation, x)

    def residual(self, x: Tensor) -> Tensor:
        return self._rest(self.preactivated(x))

    def _rest(self, active: Tensor) -> Tensor:
        out: Tensor = self.conv2(activated(self.norm2, self.inner, self.conv1(active)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        active = self.preactivated(x)
        return self.add(self._rest(active), active if self.first else x)


class _Build(Protocol):
    def __call__(self, place: Place, parts: Parts) -> nn.Module: ...


@dataclass(frozen=True)
class Kind:
    """A kind of block, and what the net around it must do.

    stem: whether norm and activation follow the stem, or the first block brings its own.
    closing: what stands between the last block and pooling. A block that ends in the addition needs
        a nonlinearity there: the spatial mean of an affine InstanceNorm is its bias, for any image.
    """

    build: _Build
    stem: bool = True
    closing: Literal["nothing", "activation", "norm and activation"] = "nothing"


BLOCKS: dict[str, Kind] = {
    "basic": Kind(BasicBlock),
    "preact": Kind(PreactBlock, stem=False, closing="norm and activation"),
    "stargan": Kind(StarganBlock, closing="activation"),
}
