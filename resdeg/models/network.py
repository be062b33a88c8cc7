"""The network of He et al. 2015, Sec. 4.2: stem, three stages of n blocks, pooling, classifier."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from resdeg.config import Family, ModelConfig, check_depth
from resdeg.errors import UsageError, did_you_mean
from resdeg.models.block import BLOCKS, conv3x3
from resdeg.models.init import INITS, initialise
from resdeg.models.norm import NORMS
from resdeg.models.shortcut import SHORTCUTS, build_shortcut

STAGE_CHANNELS = (16, 32, 64)
TABLES: dict[str, Mapping[str, object]] = {
    "block": BLOCKS,
    "shortcut": SHORTCUTS,
    "norm": NORMS,
    "init": INITS,
}


class CifarNet(nn.Module):
    """A stem, `stages` of blocks and a linear head on globally pooled features."""

    def __init__(self, family: Family, blocks_per_stage: int, config: ModelConfig, classes: int) -> None:
        super().__init__()
        norm, block = NORMS[config.norm], BLOCKS[config.block]
        channels = [max(1, round(width * config.width)) for width in STAGE_CHANNELS]
        self.stem = conv3x3(3, channels[0])
        self.stem_norm = norm(channels[0])
        self.stages = nn.ModuleList()
        entering = channels[0]
        for number, leaving in enumerate(channels if blocks_per_stage else []):
            stage = nn.Sequential()
            for position in range(blocks_per_stage):
                stride = 2 if number > 0 and position == 0 else 1
                shortcut = (
                    build_shortcut(config.shortcut, entering, leaving, stride, norm)
                    if family == "residual"
                    else None
                )
                stage.append(block(entering, leaving, stride, norm, shortcut))
                entering = leaving
            self.stages.append(stage)
        self.head = nn.Linear(entering, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of standardised images (N, 3, H, W)."""
        x = functional.relu(self.stem_norm(self.stem(images)), inplace=True)
        for stage in self.stages:
            x = stage(x)
        x = x.mean(dim=(2, 3))  # (N, C)
        logits: Tensor = self.head(x)
        return logits


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
        if name not in table:
            raise UsageError(f"model.{setting}: '{name}' is not known", did_you_mean(name, table))
    with torch.random.fork_rng(devices=[]):  # torch's layers draw values of their own, unasked
        model = CifarNet(family, (check_depth(depth) - 2) // 6, config, classes)
    initialise(model, config.init, seed)
    return model
