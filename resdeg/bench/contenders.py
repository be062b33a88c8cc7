"""The loops that are measured, by name: what is compared, and what a machine can do at most."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from resdeg.config import DataConfig, Family, HierarchyConfig, ModelConfig, RunConfig, TrainingConfig

if TYPE_CHECKING:
    import torch

    from resdeg.models import CifarNet
    from resdeg.runner import Trainer

# Images of CIFAR's size from the built-in data set, so that a bench needs no file.
DATA = DataConfig(
    name="hierarchy", hierarchy=HierarchyConfig(levels=3, cell=4, train_images=2_048, test_images=10)
)
# Images scored per image trained in ten epochs of CIFAR-10: 10,000 after each, 50,000 at the end.
EVALUATED = (10 * 10_000 + 50_000) / (10 * 50_000)
MATRIX = 2_048  # side of the products that the matrix rate is measured by
COPIED = 1 << 28  # bytes at once, far more than any cache holds

ON_A_GPU = 4  # times that side, and as many more products and copies: it is done too soon to be timed

DeviceName = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
Run = Callable[[int], object]


class Contender(BaseModel):
    """A loop and its settings.

    copies: of it, in processes of their own, that run side by side and count together. group: trainings
    side by side in one process, which count together likewise.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str  # a key of LOOPS
    threads: int
    workers: int = 0
    copies: int = 1
    precision: Precision = "fp32"
    fused: bool = True
    graph: bool = False
    group: int = 1
    device: DeviceName = "cpu"
    family: Family = "residual"
    depth: int = 20


def run_config(contender: Contender) -> RunConfig:
    training = TrainingConfig(
        steps=1_000_000,  # more than any bench takes
        schedule="constant",
        lr=0.05,
        precision=contender.precision,
        threads=contender.threads,
        fused=contender.fused,
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
    return TextbookLoop(model, split, config.training.batch_size, contender.workers, contender.device).run


def _with_activations_in_place(model: CifarNet) -> CifarNet:
    """As torchvision's networks have them: a reference must not get slower, either."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return model


def _vectorised(contender: Contender) -> Run:
    """What a careful author writes: whole batches at once, channels_last, float32, no `.item()`."""
    import torch
    from torch.nn import functional

    from resdeg import data
    from resdeg.models import build_model
    from resdeg.runner import Inputs

    torch.set_num_threads(contender.threads)  # and nothing else of what the engine prepares
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
    """Training steps; of a group, each in a thread as in a worker of `execution.group`."""
    if contender.group == 1:
        return _steps_of(_trainer(contender), contender.graph)

    def begin() -> Run:
        from resdeg.training.device import own_stream

        stack.enter_context(own_stream(torch_device(contender)))  # for as long as the thread lives
        return _steps_of(_trainer(contender), contender.graph)

    stack = contextlib.ExitStack()
    lanes = [ThreadPoolExecutor(1) for _ in range(contender.group)]
    runs = [lane.submit(begin).result() for lane in lanes]

    def run(steps: int) -> None:
        for done in [lane.submit(each, steps) for lane, each in zip(lanes, runs, strict=True)]:
            done.result()

    return run


def _worker(contender: Contender) -> Run:
    """A worker of a sweep: its steps, their share of a run's evaluations, and a checkpoint.

    The share is that of recipe short on CIFAR-10; a checkpoint at every call is more than a run takes.
    """
    from resdeg.store import SweepStore, open_run
    from resdeg.training.state import to_bytes

    trainer = _trainer(contender)
    take = _steps_of(trainer)
    images, labels = trainer.inputs.images, trainer.inputs.labels

    def run(steps: int) -> None:
        take(steps)
        count = round(steps * trainer.config.training.batch_size * EVALUATED)
        while count > 0:
            trainer.score("test", (images[:count], labels[:count]))
            count -= len(labels)
        with (
            tempfile.TemporaryDirectory() as folder,
            open_run(SweepStore(Path(folder)).run("bench"), trainer.config) as session,
        ):
            session.commit(to_bytes(trainer.state), trainer.state.step, 0)

    return run


def _matrix(contender: Contender) -> Run:
    """Square products, the most that these cores can compute."""
    import torch

    torch.set_num_threads(contender.threads)
    kind = torch.bfloat16 if contender.precision == "bf16" else torch.float32
    a, b = torch.rand(2, side(contender), side(contender), device=contender.device).to(kind)

    def run(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b)

    return run


def _copy(contender: Contender) -> Run:
    """Copies from memory to memory, the most that these cores can move."""
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
    from resdeg.training.device import resolve_device

    return resolve_device(contender.device)


def side(contender: Contender) -> int:
    """Of the square matrices that a contender of kind matrix multiplies."""
    return MATRIX * (ON_A_GPU if contender.device == "cuda" else 1)


def _steps_of(trainer: Trainer, graph: bool = False) -> Run:
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
    "worker": _worker,
    "matrix": _matrix,
    "copy": _copy,
}
