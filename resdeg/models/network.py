"""The network of He et al. 2015, Sec. 4.2: stem, stages of blocks, pooling, classifier."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from resdeg.config import Family, ModelConfig, check_depth
from resdeg.errors import UsageError, did_you_mean
from resdeg.models.block import BLOCKS, Parts, conv3x3
from resdeg.models.init import INITS, initialise
from resdeg.models.parts import ACTIVATIONS, NORMS, SHORTCUTS, BlockShape, build_shortcut

# The channels of each stage; each stage after the first halves the map. A depth has the same 3n blocks and
# the same multiply-adds in both layouts, as the blocks are shared out over the stages.
LAYOUTS: dict[str, tuple[int, ...]] = {"staged": (16, 32, 64), "isotropic": (16,)}
TABLES: dict[str, Mapping[str, object]] = {
    "layout": LAYOUTS,
    "block": BLOCKS,
    "shortcut": SHORTCUTS,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "inner_activation": ACTIVATIONS,
    "init": INITS,
}


class CifarNet(nn.Module):
    """A stem, `stages` of blocks and a linear head on globally pooled features."""

    def __init__(self, family: Family, blocks: int, config: ModelConfig, classes: int) -> None:
        super().__init__()
        norm, activation, kind = NORMS[config.norm], ACTIVATIONS[config.activation], BLOCKS[config.block]
        inner = ACTIVATIONS[config.inner_activation or config.activation]
        channels = [max(1, round(width * config.width)) for width in LAYOUTS[config.layout]]
        self.kind, self.activation = kind, activation()
        self.stem = conv3x3(3, channels[0])
        self.stem_norm = norm(channels[0]) if kind.stem else nn.Identity()
        self.stages = nn.ModuleList()
        entering = channels[0]
        for number, leaving in enumerate(channels if blocks else []):
            stage = nn.Sequential()
            for position in range(blocks // len(channels)):
                stride = 2 if number > 0 and position == 0 else 1
                shape = BlockShape(entering, leaving, stride, first=number == position == 0)
                # The families differ only in this line.
                shortcut = build_shortcut(config.shortcut, shape, norm) if family == "residual" else None
                parts = Parts(norm, activation, inner, shortcut, config.shortcut_scale)
                stage.append(kind.build(shape, parts))
                entering = leaving
            self.stages.append(stage)
        self.closing_norm = norm(entering) if kind.closing == "norm and activation" else nn.Identity()
        # A network without a block has already activated behind its stem.
        self.closes = kind.closing != "nothing" and not (kind.stem and not blocks)
        self.head = nn.Linear(entering, classes)

    def entering(self, images: Tensor) -> Tensor:
        """Computes what enters the first block, (N, C, H, W), from standardised images (N, 3, H, W)."""
        x: Tensor = self.stem(images)
        return self.activation(self.stem_norm(x)) if self.kind.stem else x

    def closed(self, x: Tensor) -> Tensor:
        """Computes what is pooled from what leaves the last block: (N, C, H', W') both."""
        return self.activation(self.closing_norm(x)) if self.closes else x

    def leaving(self, x: Tensor) -> Tensor:
        """Computes logits (N, classes) from what leaves the last block, (N, C, H', W')."""
        # The mean over the middle dimension has a gradient that is channels_last like the rest.
        pixels = self.closed(x).permute(0, 2, 3, 1).flatten(1, 2)  # (N, H'W', C)
        logits: Tensor = self.head(pixels.mean(dim=1))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Computes logits (N, classes) of standardised images (N, 3, H, W)."""
        x = self.entering(images)
        for stage in self.stages:
            x = stage(x)
        return self.leaving(x)


def build_model(
    family: Family, depth: int, seed: int = 0, config: ModelConfig | None = None, *, classes: int = 10
) -> CifarNet:
    """Builds a network with its initial values; `plain` and `residual` share them all at one seed.

    Args:
        depth: weighted layers, 6n+2; 2 is only stem and classifier, the same network in both families.

    Raises:
        UsageError: `depth` is not 6n+2, or a name in `config` is not in its table.
    """
    config = config or ModelConfig()
    for setting, table in TABLES.items():
        name = getattr(config, setting)
        if name is not None and name not in table:
            raise UsageError(f"model.{setting}: '{name}' is not known", did_you_mean(name, table))
    with torch.random.fork_rng(devices=[]):  # torch's layers draw values that nobody needs
        model = CifarNet(family, (check_depth(depth) - 2) // 2, config, classes)
    initialise(model, config, seed)
    return model
