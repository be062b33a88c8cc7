"""A run in progress on a device: the network of its phase, its state, and the phases that follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from resdeg.config import RunConfig
from resdeg.data.images import Dataset
from resdeg.models import CifarNet, build_model, image_statistics
from resdeg.models.contexts import recompute_statistics, restored_buffers
from resdeg.models.fast import use_fast_forward
from resdeg.records import DiagnosticRecord
from resdeg.runner.construction import compare_logits, construct
from resdeg.runner.inputs import Inputs
from resdeg.runner.phases import Phase, plan_phases
from resdeg.runner.provenance import fuses
from resdeg.training.device import autocast, prepare
from resdeg.training.evaluate import Examples, Score, Stop, evaluate, never_stop
from resdeg.training.gate import GATE, CaptureGate
from resdeg.training.graph import StaticStep
from resdeg.training.loop import Batch, TakeStep, make_eager_step
from resdeg.training.state import TrainState, new_state


@dataclass
class Trainer:
    """Trains the network of one phase after the other, and scores it.

    following: the phases after the present one.
    construction: how nearly the present network computes what the one before it did; None where this
        process has constructed none.
    """

    phase: Phase
    inputs: Inputs
    state: TrainState
    following: list[Phase]
    construction: DiagnosticRecord | None = None

    @classmethod
    def from_config(
        cls, config: RunConfig, dataset: Dataset, *, device: torch.device, step: int = 0
    ) -> Trainer:
        """Makes a trainer for what follows `step`, and makes this process's arithmetic repeat its bits.

        At the step between two phases it is in the earlier one, whose network the next one is made of.
        """
        prepare(config.training, device)
        phases = plan_phases(config, len(dataset.train))
        phase, *following = [each for each in phases if step <= each.schedule.last]
        own = phase.config
        model = build_model(own.family, own.depth, own.seed, own.model, classes=dataset.classes)
        inputs = Inputs.from_dataset(dataset, device, adopted=config.adopted)
        _prepare_network(model, phase, device)
        return cls(phase, inputs, new_state(model, phase.schedule), following)

    @property
    def config(self) -> RunConfig:
        """The settings of the present phase."""
        return self.phase.config

    @property
    def closing(self) -> Sequence[int]:
        """The steps that close an epoch of the whole run."""
        return [self.phase, *self.following][-1].schedule.closing

    def phases(self, *, stop: Stop = never_stop) -> Iterator[Phase]:
        """Yields the present phase and those that follow, each with its network and state in place.

        Between two phases the network of the next is constructed from the trained one.

        Raises:
            Interrupted: `stop` came true during a construction; the trainer stays in the phase before it.
            ResdegError: the constructed network does not compute what the trained one does.
        """
        yield self.phase
        while self.following:
            self._begin_next(stop)
            yield self.phase

    def _begin_next(self, stop: Stop) -> None:
        phase, *following = self.following
        shallow, inputs = self.state.model, self.inputs
        assert isinstance(shallow, CifarNet)
        deeper = construct(shallow, phase, inputs=inputs, stop=stop)
        _prepare_network(deeper, phase, inputs.images.device)
        self.construction = compare_logits(shallow, deeper, phase=phase, inputs=inputs, stop=stop)
        self.phase, self.following, self.state = phase, following, new_state(deeper, phase.schedule)

    def batch_at(self, step: int) -> Batch:
        """Makes the batch of `step`."""
        return self.inputs.batch(self.config, step)

    def make_step(
        self,
        *,
        graph: bool = False,
        gate: CaptureGate = GATE,
        refused: Callable[[RuntimeError], None] | None = None,
    ) -> TakeStep:
        """Makes the function that takes a step, on CUDA as the replay of one `graph` if that is asked for.

        Args:
            gate: keeps other threads off the device while the graph is captured.
            refused: is called where the step cannot be captured, and the step is made without a graph.

        Raises:
            RuntimeError: the step cannot be captured, and `refused` is None; or memory is used up.
        """
        if graph:
            take_step = self.make_static_step()
            try:
                take_step.capture(gate=gate)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                if refused is None:
                    raise
                refused(error)
            else:
                return take_step
        return make_eager_step(self.state, self.phase.schedule, batch_at=self.batch_at)

    def make_static_step(self) -> StaticStep:
        """Makes the same step from tensors at fixed addresses; on CUDA it can be captured."""
        config, inputs = self.config, self.inputs
        return StaticStep(
            self.state,
            self.phase.schedule,
            plan_at=lambda step: inputs.plan(config, step),
            batch_from_plan=lambda plan: inputs.batch_from_plan(config, plan),
        )

    def score(self, name: str, examples: Examples, *, stop: Stop = never_stop) -> dict[str, Score]:
        """Scores `examples` in evaluation mode, under `name`.

        Where the network has instance norms, the score under `image_<name>` is the one with each image's own
        statistics, which is how such a network was trained.

        Raises:
            Interrupted: `stop` came true.
        """
        scores = {name: self._evaluate(examples, stop)}
        with image_statistics(self.state.model) as present:
            if present:
                scores[f"image_{name}"] = self._evaluate(examples, stop)
        return scores

    def score_held_out(self, *, stop: Stop = never_stop) -> dict[str, Score]:
        """Scores every split that is held out from training, as `score` does."""
        scores: dict[str, Score] = {}
        for name, examples in self.inputs.held.items():
            scores |= self.score(name, examples, stop=stop)
        return scores

    def score_training_images(self, *, stop: Stop = never_stop) -> dict[str, Score]:
        """Scores all training images, under `train`, as `score` does.

        Under `recomputed_train` is the score with batch norm statistics that are averages over all of them,
        as in training a batch at a time; a network without batch norms has no such score.
        """
        inputs, model = self.inputs, self.state.model
        examples = inputs.images, inputs.labels
        scores = self.score("train", examples, stop=stop)
        if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            batches = inputs.batches(inputs.images, self.config.training.batch_size, stop=stop)
            with restored_buffers(model):
                with autocast(self.config.training, inputs.images.device):
                    recompute_statistics(model, batches)
                scores["recomputed_train"] = self._evaluate(examples, stop)
        return scores

    def _evaluate(self, examples: Examples, stop: Stop) -> Score:
        cast = autocast(self.config.training, self.inputs.images.device)
        standardise = self.inputs.standardise
        return evaluate(self.state.model, examples, standardise=standardise, cast=cast, stop=stop)


def _prepare_network(model: CifarNet, phase: Phase, device: torch.device) -> None:
    """Puts `model` on `device`, in the layout and with the forward that train fast there."""
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    use_fast_forward(model, compiled=fuses(phase.config, device))
