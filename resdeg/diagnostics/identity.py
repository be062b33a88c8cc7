"""The distance of each block from the identity: in norm, in direction, and up to a change of coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode
from resdeg.models.structure import NumberedBlock, passes

_RANK = 1e-10  # an eigenvalue below this share of the largest belongs to a dead channel, not to a direction


@dataclass(frozen=True)
class Nearness:
    """A block H with branch F compared with the identity, over all images together.

    branch: ||F(x)|| / ||x||; distance: ||H(x) - x|| / ||x||; cosine: of x and H(x).
    branch_norm: ||F(x)|| by itself, the root mean square over images of the norm of an image's whole map. It
        is measured because `branch` also falls when x grows.
    cka: debiased linear CKA of x and H(x), see `_Alignment`.
    linear_residual: share of the variance of H(x) that no linear map of a pixel's channels explains.
    """

    branch: float
    branch_norm: float
    distance: float
    cosine: float
    cka: float
    linear_residual: float


@torch.no_grad()
def nearness(model: CifarNet, batches: Iterable[Tensor]) -> list[tuple[NumberedBlock, Nearness]]:
    """Measures `Nearness` of every block that keeps its shape, in evaluation mode, with its real input.

    Blocks that change the shape cannot be the identity and are left out.

    Args:
        batches: (N, 3, H, W) each, standardised, N >= 4; together 1,000 images or more.
    """
    sums: dict[int, tuple[NumberedBlock, _Norms, _Alignment, _LinearMap]] = {}
    with in_mode(model, training=False):
        for images in batches:
            for block, x, out in passes(model, images):
                if block.keeps_shape:
                    new = (block, _Norms(), _Alignment(), _LinearMap())
                    _, norms, alignment, linear = sums.setdefault(block.number, new)
                    norms.add(x, block.module.residual(x), out)
                    alignment.add(x, out)
                    linear.add(x, out)
    return [
        (block, Nearness(**norms.result(), cka=alignment.result(), linear_residual=linear.result()))
        for block, norms, alignment, linear in sums.values()
    ]


def _zero() -> Tensor:
    return torch.zeros((), dtype=torch.float64, device="cpu")


@dataclass
class _Norms:
    """Norms over all images, positions and channels as one vector, so that the law of cosines holds."""

    images: int = 0
    x: Tensor = field(default_factory=_zero)
    out: Tensor = field(default_factory=_zero)
    branch: Tensor = field(default_factory=_zero)
    difference: Tensor = field(default_factory=_zero)
    product: Tensor = field(default_factory=_zero)

    def add(self, x: Tensor, branch: Tensor, out: Tensor) -> None:
        x, branch, out = x.double(), branch.double(), out.double()
        self.images += len(x)
        self.x += x.square().sum()
        self.out += out.square().sum()
        self.branch += branch.square().sum()
        self.difference += (out - x).square().sum()
        self.product += (x * out).sum()

    def result(self) -> dict[str, float]:
        return {
            "branch": (self.branch / self.x).sqrt().item(),
            "branch_norm": (self.branch / self.images).sqrt().item(),
            "distance": (self.difference / self.x).sqrt().item(),
            "cosine": (self.product / (self.x * self.out).sqrt()).item(),
        }


@dataclass
class _Alignment:
    """Debiased linear CKA (Kornblith et al. 2019) of the maps, from batches (Nguyen et al. 2021, Sec. 3.1).

    The features of an image are its whole map, flattened, because a block that moves everything to another
    position would pass for the identity if positions were pooled. HSIC_1 (Song et al. 2012, eq. 5) is
    unbiased for any number of images, so its mean over batches has the same expectation as over all of them
    at once, in bounded memory. A rotation of the features, such as a permutation of channels, leaves it at 1.
    """

    products: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64, device="cpu"))

    def add(self, x: Tensor, out: Tensor) -> None:
        a, b = _centred_gram(x), _centred_gram(out)
        n = len(x)
        self.products += n * torch.stack([(a * b).sum(), (a * a).sum(), (b * b).sum()]) / (n * (n - 3))

    def result(self) -> float:
        both, first, second = self.products
        return float(both / (first * second).sqrt())


def _centred_gram(maps: Tensor) -> Tensor:
    """Computes the (N, N) Gram matrix without its diagonal, centred so that products of two are unbiased."""
    n = len(maps)
    if n < 4:
        raise ValueError(f"{n} images in a batch: debiased CKA needs at least 4")
    features = maps.double().flatten(1)
    features = features - features.mean(dim=0)  # only changes the rounding of what follows
    gram = features @ features.T
    gram.fill_diagonal_(0)
    rows = gram.sum(dim=0) / (n - 2)
    gram = gram - rows[:, None] - rows[None, :] + gram.sum() / ((n - 1) * (n - 2))
    return gram.fill_diagonal_(0)


@dataclass
class _LinearMap:
    """The least squares of H(x)'s channels on x's at the same pixel, with a bias; every pixel is a case."""

    cases: int = 0
    first: Tensor | None = None  # (2C,) sums of [x, H(x)]
    second: Tensor | None = None  # (2C, 2C) sums of their products

    def add(self, x: Tensor, out: Tensor) -> None:
        both = torch.cat([x, out], dim=1).double().permute(0, 2, 3, 1).flatten(0, 2)  # (NH'W', 2C)
        self.cases += len(both)
        first, second = both.sum(dim=0), both.T @ both
        self.first = first if self.first is None else self.first + first
        self.second = second if self.second is None else self.second + second

    def result(self) -> float:
        assert self.first is not None
        assert self.second is not None
        mean = self.first / self.cases
        covariance = self.second / self.cases - torch.outer(mean, mean)
        channels = len(mean) // 2
        before, across = covariance[:channels, :channels], covariance[:channels, channels:]
        after = covariance[channels:, channels:]
        explained = across.T @ torch.linalg.pinv(before, rtol=_RANK, hermitian=True) @ across
        return 1 - float(explained.trace() / after.trace())


def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Measures the six numbers of `Nearness` for every block that keeps its shape, on held-out images."""
    return [
        Number.from_block(block, name, value, images=len(sample))
        for block, values in nearness(model, sample.batches())
        for name, value in vars(values).items()
    ]
