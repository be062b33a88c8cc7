"""The textbook loop is a fixed reference. Do not make it faster.

It does what tutorials and most public repositories of this experiment do: NCHW float32, transforms in Python
on one image at a time, a DataLoader that shuffles, and `.item()` at every step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from resdeg.data.images import Split

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class AugmentedImages(TorchDataset[tuple[Tensor, int]]):
    """Pad, random crop, random flip and normalisation, image by image."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.mean = torch.tensor(MEAN).view(3, 1, 1)
        self.deviation = torch.tensor(DEVIATION).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        side = self.split.images.shape[1]
        image = torch.from_numpy(self.split.images[index]).permute(2, 0, 1).float().div(255)
        image = functional.pad(image, (4, 4, 4, 4))
        y, x = (int(torch.randint(0, 9, (1,))) for _ in range(2))
        image = image[:, y : y + side, x : x + side]
        if torch.rand(1).item() < 0.5:
            image = image.flip(2)
        return (image - self.mean) / self.deviation, int(self.split.labels[index])


class TextbookLoop:
    """SGD over epochs, one step at a time."""

    def __init__(
        self, model: nn.Module, split: Split, *, batch_size: int, workers: int, device: str = "cpu"
    ) -> None:
        self.model, self.device = model.train().to(device), device
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        self.loader = DataLoader(
            AugmentedImages(split),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self._batches = self._endless()

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> list[float]:
        """Trains for `steps` steps and returns the loss of each."""
        losses = []
        correct = 0
        for _ in range(steps):
            images, labels = (tensor.to(self.device) for tensor in next(self._batches))
            self.optimizer.zero_grad()
            logits = self.model(images)
            loss = functional.cross_entropy(logits, labels)
            torch.autograd.backward(loss)
            self.optimizer.step()
            losses.append(loss.item())
            correct += int((logits.argmax(1) == labels).sum().item())
        return losses
