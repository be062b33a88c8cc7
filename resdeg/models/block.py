"""Blocks: F and the shortcut around it. A plain block is the same F without the addition."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from resdeg.models.shortcut import Norm


def conv3x3(entering: int, leaving: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """relu(F(x) + shortcut(x)), F = norm(conv(relu(norm(conv(x))))) (He et al. 2015, Fig. 2).

    Args:
        shortcut: the path around F; None for the plain family, which is relu(F(x)).
    """

    def __init__(
        self, entering: int, leaving: int, stride: int, norm: Norm, shortcut: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(entering, leaving, stride)
        self.norm1 = norm(leaving)
        self.conv2 = conv3x3(leaving, leaving)
        self.norm2 = norm(leaving)
        self.shortcut = shortcut

    def residual(self, x: Tensor) -> Tensor:
        """F(x): (N, entering, H, W) to (N, leaving, H/stride, W/stride)."""
        inner = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        out: Tensor = self.norm2(self.conv2(inner))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out = self.residual(x)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return functional.relu(out, inplace=True)


BLOCKS: dict[str, Callable[[int, int, int, Norm, nn.Module | None], nn.Module]] = {"basic": BasicBlock}
