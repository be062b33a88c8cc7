"""A data set on its device, as training and evaluation read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from resdeg.config import AdoptedConfig, RunConfig
from resdeg.data.augment import Standardiser, augment
from resdeg.data.batch_plan import Plan, batch_plan
from resdeg.data.images import Dataset, Split, fixed_images
from resdeg.training.evaluate import Examples, Interrupted, Stop
from resdeg.training.loop import Batch


@dataclass(frozen=True)
class Inputs:
    """The training images, and the images held out from training by the name of their split."""

    images: Tensor  # (N, H, W, 3) uint8
    labels: Tensor  # (N,) int64
    held: dict[str, Examples]
    standardise: Standardiser

    @classmethod
    def from_dataset(
        cls, dataset: Dataset, device: torch.device, *, adopted: AdoptedConfig | None = None
    ) -> Inputs:
        """Puts `dataset` on `device`; `adopted` says how adopted weights want their input standardised."""

        def put(split: Split) -> Examples:
            images = torch.from_numpy(split.images).to(device)
            return images, torch.from_numpy(split.labels).to(device).long()

        held = {"test": put(dataset.test)}
        if dataset.validation is not None:
            held["validation"] = put(dataset.validation)
        images, labels = put(dataset.train)
        return cls(images, labels, held, Standardiser.from_split(dataset.train, device, adopted=adopted))

    @property
    def fixed(self) -> Examples:
        """The training images scored after every epoch: the same for every seed, family and depth."""
        _, test_labels = self.held["test"]
        count = fixed_images(len(self.labels), len(test_labels))
        return self.images[:count], self.labels[:count]

    def plan(self, config: RunConfig, step: int) -> Plan:
        """Draws the plan (B,) int32 of `step`, on the host."""
        training, images = config.training, len(self.labels)
        return batch_plan(
            config.seed, step, batch=training.batch_size, images=images, pad=training.pad, flip=training.flip
        )

    def batch(self, config: RunConfig, step: int) -> Batch:
        """Makes the batch of `step`, which depends only on the seed and the step."""
        return self.batch_from_plan(config, torch.from_numpy(self.plan(config, step)).to(self.images.device))

    def batch_from_plan(self, config: RunConfig, plan: Tensor) -> Batch:
        """Makes the batch of a plan (B,) int32 that lies on the device."""
        images = augment(self.images, plan, self.standardise, config.training.pad)
        return images, self.labels[plan.long() >> 9]

    def batches(self, images: Tensor, size: int, *, stop: Stop) -> Iterator[Tensor]:
        """Yields `images`, standardised and not augmented, in equal batches of at most `size`.

        Raises:
            Interrupted: `stop` came true between two of them.
        """
        for pixels in images.tensor_split(-(-len(images) // size)):
            if stop():
                raise Interrupted
            yield self.standardise(pixels)
