"""Blocks: F(x) and the shortcut around it. A plain block is of the same class and has no shortcut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from resdeg.models.parts import Activation, BlockShape, Norm


@dataclass(frozen=True)
class Parts:
    """The parts of a block besides its convolutions.

    inner_activation: between the convolutions of F; activation: everywhere else.
    shortcut: the path around F, None in the plain family; scale: the factor on it (lambda).
    """

    norm: Norm
    activation: Activation
    inner_activation: Activation
    shortcut: nn.Module | None
    scale: float = 1.0


def conv3x3(entering: int, leaving: int, stride: int = 1) -> nn.Conv2d:
    """Makes a 3x3 convolution without bias, zero-padded: (N, entering, H, W) to (N, leaving, H/s, W/s)."""
    return nn.Conv2d(entering, leaving, kernel_size=3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions with their norms, and the addition. Subclasses put them in order.

    `residual` is F: (N, entering, H, W) to (N, leaving, H/stride, W/stride).
    """

    def __init__(self, shape: BlockShape, parts: Parts) -> None:
        super().__init__()
        self.conv1 = conv3x3(shape.entering, shape.leaving, shape.stride)
        self.norm1 = parts.norm(shape.leaving)
        self.inner_activation = parts.inner_activation()
        self.conv2 = conv3x3(shape.leaving, shape.leaving)
        self.norm2 = parts.norm(shape.leaving)
        self.activation = parts.activation()
        self.shortcut, self.scale = parts.shortcut, parts.scale

    def residual(self, x: Tensor) -> Tensor:
        x = self.inner_activation(self.norm1(self.conv1(x)))
        out: Tensor = self.norm2(self.conv2(x))
        return out

    def add(self, out: Tensor, x: Tensor) -> Tensor:
        """Returns `out` + lambda · shortcut(x), and `out` itself in the plain family."""
        return out if self.shortcut is None else torch.add(out, self.shortcut(x), alpha=self.scale)

    def responses(self) -> tuple[nn.Module, nn.Module]:
        """Returns the modules whose outputs are the responses of conv1 and conv2: the norm behind each.

        A convolution without a norm behind it is its own response.
        """
        return self.norm1, self.norm2


class BasicBlock(Block):
    """relu(F(x) + shortcut(x)), F = norm(conv(relu(norm(conv(x))))) (He et al. 2015, Fig. 2)."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.add(self.residual(x), x))
        return out


class StarganBlock(Block):
    """F(x) + shortcut(x) without an activation behind it: the residual unit of the notes.

    With norm "instance" it is exactly StarGAN's unit (Choi et al. 2018).
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.residual(x), x)


class PreactBlock(Block):
    """F(x) + shortcut(x), F = conv(relu(norm(conv(relu(norm(x)))))) (He et al. 2016, Fig. 1b and Sec. 3).

    The first block of the network activates before the two paths part, as in the paper.
    """

    def __init__(self, shape: BlockShape, parts: Parts) -> None:
        super().__init__(shape, parts)
        self.norm1 = parts.norm(shape.entering)
        self.first = shape.first

    def preactivated(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.norm1(x))
        return out

    def convolved(self, active: Tensor) -> Tensor:
        """Computes F without its first norm and activation."""
        out: Tensor = self.conv2(self.inner_activation(self.norm2(self.conv1(active))))
        return out

    def residual(self, x: Tensor) -> Tensor:
        return self.convolved(self.preactivated(x))

    def forward(self, x: Tensor) -> Tensor:
        active = self.preactivated(x)
        return self.add(self.convolved(active), active if self.first else x)

    def responses(self) -> tuple[nn.Module, nn.Module]:
        return self.norm2, self.conv2


class _Build(Protocol):
    def __call__(self, shape: BlockShape, parts: Parts) -> nn.Module: ...


@dataclass(frozen=True)
class Kind:
    """A kind of block, and what the network around it must do.

    stem: whether norm and activation follow the stem; if not, the first block brings its own.
    closing: the layers between the last block and pooling. A block that ends in the addition needs a
        nonlinearity there, because the spatial mean of an affine InstanceNorm is its bias for any image.
    """

    build: _Build
    stem: bool = True
    closing: Literal["nothing", "activation", "norm and activation"] = "nothing"


BLOCKS: dict[str, Kind] = {
    "basic": Kind(BasicBlock),
    "preact": Kind(PreactBlock, stem=False, closing="norm and activation"),
    "stargan": Kind(StarganBlock, closing="activation"),
}
