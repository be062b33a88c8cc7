"""The network of He et al. 2015, Sec. 4.2: stem, stages of blocks, pooling, classifier."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from resdeg.config import Family, ModelConfig, check_depth
from resdeg.errors import UsageError, did_you_mean
from resdeg.models.block import BLOCKS, BlockShape, Parts, conv3x3
from resdeg.models.init import INITS, initialise
from resdeg.models.parts import ACTIVATIONS, NORMS, SHORTCUTS, build_shortcut

# Channels of each stage; each stage after the first halves the map. A depth has the same blocks and
# multiply-adds in either: 3n blocks, shared out over the stages.
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
                # The one line in which the families differ.
                residual = family == "residual"
                around = (
                    build_shortcut(config.shortcut, entering, leaving, stride, norm) if residual else None
                )
                parts = Parts(norm, activation, inner, around, config.shortcut_scale)
                shape = BlockShape(entering, leaving, stride, first=number == position == 0)
                stage.append(kind.build(shape, parts))
                entering = leaving
            self.stages.append(stage)
        self.closing_norm = norm(entering) if kind.closing == "norm and activation" else nn.Identity()
        # A network without a block activates behind its stem already.
        self.closes = kind.closing != "nothing" and not (kind.stem and not blocks)
        self.head = nn.Linear(entering, classes)

    def entering(self, images: Tensor) -> Tensor:
        """What enters the first block: (N, C, H, W)."""
        x: Tensor = self.stem(images)
        return self.activation(self.stem_norm(x)) if self.kind.stem else x

    def closed(self, x: Tensor) -> Tensor:
        """What is pooled, from what leaves the last block: (N, C, H', W')."""
        return self.activation(self.closing_norm(x)) if self.closes else x

    def leaving(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of what leaves the last block: (N, C, H', W')."""
        # Pooled over the middle dimension, whose gradient is channels_last like the rest.
        pixels = self.closed(x).permute(0, 2, 3, 1).flatten(1, 2)  # (N, H'W', C)
        logits: Tensor = self.head(pixels.mean(dim=1))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of standardised images (N, 3, H, W)."""
        x = self.entering(images)
        for stage in self.stages:
            x = stage(x)
        return self.leaving(x)


def build_model(
    family: Family, depth: int, seed: int = 0, config: ModelConfig | None = None, classes: int = 10
) -> CifarNet:
    """A network with its initial values; `plain` and `residual` of one seed share them all.

    Args:
        depth: weighted layers, 6n+2; 2 is stem and classifier alone, the same in both families.

    Raises:
        UsageError: `depth` is not 6n+2, or a name in `config` is not in its table.
    """
    config = config or ModelConfig()
    for setting, table in TABLES.items():
        name = getattr(config, setting)
        if name is not None and name not in table:
            raise UsageError(f"model.{setting}: '{name}' is not known", did_you_mean(name, table))
    with torch.random.fork_rng(devices=[]):  # torch's layers draw values of their own, unasked
        model = CifarNet(family, (check_depth(depth) - 2) // 2, config, classes)
    initialise(model, config, seed)
    return model
