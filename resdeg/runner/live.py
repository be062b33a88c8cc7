"""A run in progress: its network, its state and its data set, on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resdeg.config import AdoptedConfig, RunConfig
from resdeg.data.augment import Standardiser, augment
from resdeg.data.images import Dataset, Split, fixed_images
from resdeg.data.plan import Plan, batch_plan
from resdeg.models import build_model, image_statistics
from resdeg.models.contexts import recompute_statistics, restored_buffers
from resdeg.models.fast import use_fast_forward
from resdeg.models.network import CifarNet
from resdeg.runner.parts import Part, parts
from resdeg.runner.provenance import fuses
from resdeg.training.device import autocast, prepare
from resdeg.training.evaluate import Interrupted, Score, evaluate
from resdeg.training.graph import StaticStep
from resdeg.training.loop import Batch, Take, eager
from resdeg.training.schedule import learning_rate
from resdeg.training.state import TrainState, new_state

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Inputs:
    """A data set on its device, as the loop reads it."""

    images: Tensor  # (N, H, W, 3) uint8
    labels: Tensor  # (N,) int64
    held: dict[str, tuple[Tensor, Tensor]]  # by split name, likewise
    standardise: Standardiser

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device, adopted: AdoptedConfig | None = None) -> Inputs:
        def put(split: Split) -> tuple[Tensor, Tensor]:
            images = torch.from_numpy(split.images).to(device)
            return images, torch.from_numpy(split.labels).to(device).long()

        held = {"test": put(dataset.test)}
        if dataset.validation is not None:
            held["validation"] = put(dataset.validation)
        images, labels = put(dataset.train)
        return cls(images, labels, held, Standardiser.from_split(dataset.train, device, adopted=adopted))

    @property
    def fixed(self) -> tuple[Tensor, Tensor]:
        """The training images scored after every epoch: the same for every seed, family and depth."""
        count = fixed_images(len(self.labels), len(self.held["test"][1]))
        return self.images[:count], self.labels[:count]

    def batch(self, config: RunConfig, step: int) -> Batch:
        """The batch of `step`: a function of the seed and the step alone."""
        plan = torch.from_numpy(self.plan(config, step)).to(self.images.device)
        return self.planned(config, plan)

    def batches(self, images: Tensor, size: int, stop: Stop) -> Iterator[Tensor]:
        """`images`, standardised and not augmented, in equal parts of at most `size`.

        Raises:
            Interrupted: `stop` came true between two of them.
        """
        for pixels in images.tensor_split(-(-len(images) // size)):
            if stop():
                raise Interrupted
            yield self.standardise(pixels)

    def plan(self, config: RunConfig, step: int) -> Plan:
        t = config.training
        images = len(self.labels)
        return batch_plan(config.seed, step, batch=t.batch_size, images=images, pad=t.pad, flip=t.flip)

    def planned(self, config: RunConfig, plan: Tensor) -> Batch:
        """The batch of a plan that lies on the device."""
        images = augment(self.images, plan, self.standardise, config.training.pad)
        return images, self.labels[plan.long() >> 9]


@dataclass
class Training:
    """A part of a run in progress: its network and state, its inputs, the parts that follow."""

    part: Part
    inputs: Inputs
    state: TrainState
    rest: list[Part]

    @classmethod
    def of(cls, config: RunConfig, dataset: Dataset, device: torch.device, step: int = 0) -> Training:
        """Ready for what follows `step`, on `device`, with this process's arithmetic set to repeat.

        At the step between two parts, the earlier one: its network is what the next one is made of.
        """
        prepare(config.training, device)
        own, *rest = [part for part in parts(config, len(dataset.train)) if step <= part.closing[-1]]
        c = own.config
        model = build_model(c.family, c.depth, c.seed, c.model, classes=dataset.classes)
        return cls._on(device, model, own, Inputs.of(dataset, device, config.adopted), rest)

    @classmethod
    def _on(
        cls, device: torch.device, model: CifarNet, part: Part, inputs: Inputs, rest: list[Part]
    ) -> Training:
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        use_fast_forward(model, compiled=fuses(part.config, device))
        state = new_state(model, part.config.training, part.longest)
        state.step = part.first
        return cls(part, inputs, state, rest)

    @property
    def config(self) -> RunConfig:
        """The settings of this part."""
        return self.part.config

    @property
    def ended(self) -> bool:
        """Whether the last step of this part was taken."""
        return self.state.step == self.part.closing[-1]

    def followed_by(self, model: CifarNet) -> Training:
        """The next part, which trains `model` from its present values."""
        part, *rest = self.rest
        return self._on(self.state.losses.device, model, part, self.inputs, rest)

    def scores(self, name: str, images: Tensor, labels: Tensor, stop: Stop) -> dict[str, Score]:
        """The score in evaluation mode under `name`; under `image_<name>`, where the net has instance
        norms, the one with each image's own statistics, which is how such a net was trained.
        """
        cast = autocast(self.config.training, images.device)
        model, standardise = self.state.model, self.inputs.standardise
        found = {name: evaluate(model, images, labels, standardise, cast, stop)}
        with image_statistics(model) as any_norm:
            if any_norm:
                found[f"image_{name}"] = evaluate(model, images, labels, standardise, cast, stop)
        return found

    def recomputed(self, stop: Stop) -> dict[str, Score]:
        """The score of all training images under `recomputed_train`, with batch norm statistics that are
        averages over them, as in training a batch at a time; nothing for a net without batch norms.
        """
        model, inputs = self.state.model, self.inputs
        if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            return {}
        cast = autocast(self.config.training, inputs.images.device)
        with restored_buffers(model):
            with cast:
                recompute_statistics(
                    model, inputs.batches(inputs.images, self.config.training.batch_size, stop)
                )
            score = evaluate(model, inputs.images, inputs.labels, inputs.standardise, cast, stop)
        return {"recomputed_train": score}

    def batch_at(self, step: int) -> Batch:
        return self.inputs.batch(self.config, step)

    def eager(self) -> Take:
        """Takes steps one operation after another."""
        return eager(self.state, self.batch_at, self.config.training, self.part.closing[-1], self.part.first)

    def captured(self) -> StaticStep:
        """Takes the same steps by replaying one CUDA graph."""
        take = self.static()
        take.capture()
        return take

    def static(self) -> StaticStep:
        """Takes the same steps from tensors in fixed places; on CUDA it can be captured."""
        config, t, first, total = self.config, self.config.training, self.part.first, self.part.closing[-1]
        return StaticStep(
            self.state,
            batch_of=lambda plan: self.inputs.planned(config, plan),
            plan_at=lambda step: self.inputs.plan(config, step),
            # asked for whole chunks, which may begin before this part
            rate_at=lambda step: learning_rate(t, max(step - first, 0), total - first),
            total=total,
            cast=autocast(t, self.state.losses.device),
        )
