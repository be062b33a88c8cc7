"""The loops that are measured, by name: those that are compared, and those that show a machine's limits."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from resdeg.config import DataConfig, Family, HierarchyConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.errors import ResdegError

if TYPE_CHECKING:
    import torch

    from resdeg.models import CifarNet
    from resdeg.runner import Trainer
    from resdeg.training.loop import TakeStep

# The built-in data set with images of CIFAR's size, so that a bench needs no file.
DATA = DataConfig(
    name="hierarchy", hierarchy=HierarchyConfig(levels=3, cell=4, train_images=2_048, test_images=10)
)
EVALUATED = 0.3  # images scored per image trained in ten epochs of CIFAR-10: (10 * 10,000 + 50,000) / 500,000
MATRIX = 2_048  # the side of the matrices whose products measure the matrix rate
COMPARED = 3  # steps that a captured training takes beside an eager one before it is timed
SCORED = 2_000  # images of one step of kind score
NEAR = 0.1  # the most that the momentum of fast math may differ, as a share of its norm
COPIED = 1 << 28  # bytes of one copy, far more than any cache holds
ON_A_GPU = 4  # the factor on the side and on the number of products and copies, as a GPU is too fast else
DeviceName = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
Run = Callable[[int], object]
MakeStep = Callable[["Trainer"], "TakeStep"]


class Contender(BaseModel):
    """A loop and its settings.

    copies: processes side by side that count together, by NVIDIA's MPS if `mps`. group: trainings in one
    process, which count together likewise.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str  # a key of LOOPS
    threads: int
    workers: int = 0
    copies: int = 1
    precision: Precision = "fp32"
    fused: bool = True
    fast_math: bool = False
    graph: bool = False
    group: int = 1
    mps: bool = False
    device: DeviceName = "cpu"
    family: Family = "residual"
    depth: int = 20


def run_config(contender: Contender) -> RunConfig:
    """Returns the configuration of the contender's run, which is longer than any bench."""
    training = TrainingConfig(
        steps=1_000_000,
        schedule="constant",
        lr=0.05,
        precision=contender.precision,
        threads=contender.threads,
        fused=contender.fused,
        fast_math=contender.fast_math,
    )
    return RunConfig(
        family=contender.family,
        depth=contender.depth, seed=0, data=DATA, model=ModelConfig(), training=training,
    )  # fmt: skip


def _textbook(contender: Contender) -> Run:
    import torch

    from resdeg import data
    from resdeg.bench.textbook import TextbookLoop
    from resdeg.models import build_model

    torch.set_num_threads(contender.threads)
    config = run_config(contender)
    model = _with_activations_in_place(build_model(config.family, config.depth))
    split = data.load(DATA).train
    return TextbookLoop(
        model,
        split,
        batch_size=config.training.batch_size,
        workers=contender.workers,
        device=contender.device,
    ).run


def _with_activations_in_place(model: CifarNet) -> CifarNet:
    """Makes activations work in place, as in torchvision's networks, so that no reference is slowed down."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return model


def _vectorised(contender: Contender) -> Run:
    """Makes the loop of a careful author: whole batches at once, channels_last, float32, no `.item()`."""
    import torch
    from torch.nn import functional

    from resdeg import data
    from resdeg.models import build_model
    from resdeg.runner import Inputs

    torch.set_num_threads(contender.threads)  # the engine prepares more, and this loop must not
    config = run_config(contender)
    model = _with_activations_in_place(build_model(config.family, config.depth))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = Inputs.from_dataset(data.load(DATA), torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def run(steps: int) -> None:
        for step in range(steps):
            images, labels = inputs.batch(config, step)
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(model(images), labels))
            optimizer.step()

    return run


def _engine(contender: Contender) -> Run:
    """Makes training steps; each training of a group has a thread, as in a worker of `execution.group`.

    Every graph is captured here, one after another, before any training takes a counted step.
    """
    if contender.graph:
        require_equal_steps(contender)
        _forget_peak(contender)
    return _side_by_side(contender, lambda: _take_steps(_trainer(contender), graph=contender.graph))


def _score(contender: Contender) -> Run:
    """Makes the evaluation of a training: a step of it scores SCORED images."""
    return _side_by_side(contender, lambda: _score_images(_trainer(contender)))


def _side_by_side(contender: Contender, make: Callable[[], Run]) -> Run:
    """Makes the runs of the contender's group; several have a thread and a stream each."""
    if contender.group == 1:
        return make()

    def begin() -> Run:
        from resdeg.training.device import own_stream

        stack.enter_context(own_stream(torch_device(contender)))  # stays until the thread ends
        return make()

    stack = contextlib.ExitStack()
    lanes = [ThreadPoolExecutor(1) for _ in range(contender.group)]
    runs = [lane.submit(begin).result() for lane in lanes]

    def run(steps: int) -> None:
        for future in [lane.submit(each, steps) for lane, each in zip(lanes, runs, strict=True)]:
            future.result()

    return run


def _forget_peak(contender: Contender) -> None:
    """Begins the peak of memory anew, so that the comparison of steps does not count."""
    if contender.device == "cuda":
        import torch

        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def require_equal_steps(contender: Contender, make_captured: MakeStep | None = None) -> None:
    """Requires that captured steps leave the bits of eager ones, because a wrong step is not worth timing.

    Several steps are compared, since a rate or a plan that a capture froze is right in the first of them.
    The bits of fast math repeat nowhere; there the momentum must be near, which another batch would not give.

    Args:
        make_captured: makes the captured step of a trainer; by default it is a CUDA graph.

    Raises:
        ResdegError: the bits differ; the error names the first tensor that does.
    """
    from resdeg.training.state import find_difference, momentum_distance

    eager, captured = _trainer(contender), _trainer(contender)
    take_captured = captured.make_step(graph=True) if make_captured is None else make_captured(captured)
    for take_step in (eager.make_step(), take_captured):
        for step in range(COMPARED):
            take_step(step, step)
    if contender.fast_math:
        distance = momentum_distance(eager.state, captured.state)
        if not distance < NEAR:  # It may be NaN.
            raise ResdegError(
                f"after captured steps the momentum differs by {distance:.1%} from the eager one"
            )
        return
    differing = find_difference(eager.state, captured.state)
    if differing is not None:
        raise ResdegError(
            f"after {COMPARED} steps the captured training differs from the eager one in {differing}"
        )


def _worker(contender: Contender) -> Run:
    """Makes the work of a sweep's worker: its steps, their share of a run's evaluations, and a checkpoint.

    The share is that of recipe short on CIFAR-10. A run writes fewer checkpoints than one per call.
    """
    from resdeg.store import SweepStore, open_run
    from resdeg.training.state import to_bytes

    trainer = _trainer(contender)
    take = _take_steps(trainer)
    images, labels = trainer.inputs.images, trainer.inputs.labels

    def run(steps: int) -> None:
        take(steps)
        count = round(steps * trainer.config.training.batch_size * EVALUATED)
        while count > 0:
            trainer.score("test", (images[:count], labels[:count]))
            count -= len(labels)
        with (
            tempfile.TemporaryDirectory() as folder,
            open_run(SweepStore(Path(folder)).run(trainer.config.run_id), trainer.config) as session,
        ):
            session.commit(to_bytes(trainer.state), trainer.state.step, 0)

    return run


def _matrix(contender: Contender) -> Run:
    """Makes square products, which show the most that these cores can compute."""
    import torch

    torch.set_num_threads(contender.threads)
    dtype = torch.bfloat16 if contender.precision == "bf16" else torch.float32
    side = matrix_side(contender)
    a, b = torch.rand(2, side, side, device=contender.device).to(dtype)

    def run(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b)

    return run


def _copy(contender: Contender) -> Run:
    """Makes copies from memory to memory, which show the most that these cores can move."""
    import torch

    torch.set_num_threads(contender.threads)
    a, b = (torch.ones(COPIED, dtype=torch.uint8, device=contender.device) for _ in range(2))

    def run(steps: int) -> None:
        for _ in range(steps):
            b.copy_(a)

    return run


def _trainer(contender: Contender) -> Trainer:
    from resdeg import data
    from resdeg.runner import Trainer

    return Trainer.from_config(run_config(contender), data.load(DATA), device=torch_device(contender))


def torch_device(contender: Contender) -> torch.device:
    """Returns the contender's device.

    Raises:
        UsageError: the device is not on this machine.
    """
    from resdeg.training.device import resolve_device

    return resolve_device(contender.device)


def matrix_side(contender: Contender) -> int:
    """Returns the side of the square matrices that a contender of kind matrix multiplies."""
    return MATRIX * (ON_A_GPU if contender.device == "cuda" else 1)


def _score_images(trainer: Trainer) -> Run:
    examples = trainer.inputs.images[:SCORED], trainer.inputs.labels[:SCORED]

    def run(steps: int) -> None:
        for _ in range(steps):
            trainer.score("train", examples)

    return run


def _take_steps(trainer: Trainer, *, graph: bool = False) -> Run:
    take_step = trainer.make_step(graph=graph)

    def run(steps: int) -> None:
        for _ in range(steps):
            take_step(trainer.state.step, 0)
            trainer.state.step += 1

    return run


LOOPS: dict[str, Callable[[Contender], Run]] = {
    "textbook": _textbook,
    "vectorised": _vectorised,
    "engine": _engine,
    "score": _score,
    "worker": _worker,
    "matrix": _matrix,
    "copy": _copy,
}
