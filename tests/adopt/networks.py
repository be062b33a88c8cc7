"""Networks with arbitrary weights and statistics, and akamaster's own definition of his."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from resdeg.config import Family, ModelConfig
from resdeg.models import CifarNet, build_model

SMALL = ModelConfig(width=0.5)  # 8, 16 and 32 channels


def arbitrary(family: Family, depth: int, config: ModelConfig = SMALL, seed: int = 0) -> CifarNet:
    """A network none of whose numbers is 0 or 1, so that no two of them can be taken for each other."""
    model = build_model(family, depth, seed, config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dim() == 1:
                value.copy_(torch.rand(value.shape, generator=generator) + (0.5 if "var" in name else 0.1))
    return model


def images(count: int = 8, side: int = 32) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


class AkamasterBlock(nn.Module):
    """BasicBlock of akamaster/pytorch_resnet_cifar10, options A and B."""

    def __init__(self, entering: int, leaving: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(leaving)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(leaving)
        self.shortcut = nn.Sequential()
        self.added = leaving // 4 if (stride != 1 or entering != leaving) and option == "A" else 0
        if (stride != 1 or entering != leaving) and option == "B":
            self.shortcut = nn.Sequential(
                nn.Conv2d(entering, leaving, 1, stride, bias=False), nn.BatchNorm2d(leaving)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.added:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added), "constant", 0)
        return functional.relu(out + self.shortcut(x))


class AkamasterNet(nn.Module):
    """ResNet of akamaster/pytorch_resnet_cifar10: logits (N, 10) of images (N, 3, 32, 32)."""

    def __init__(self, blocks: int, channels: tuple[int, ...] = (16, 32, 64), option: str = "A") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        entering = channels[0]
        for stage, leaving in enumerate(channels, start=1):
            parts = []
            for position in range(blocks):
                stride = 2 if stage > 1 and position == 0 else 1
                parts.append(AkamasterBlock(entering, leaving, stride, option))
                entering = leaving
            setattr(self, f"layer{stage}", nn.Sequential(*parts))
        self.linear = nn.Linear(entering, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = functional.avg_pool2d(out, out.shape[3])
        return self.linear(out.flatten(1))
