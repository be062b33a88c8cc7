"""The loops that are measured, each in a process of its own that runs when it is told to.

One process each, because threads and allocator settings belong to a process; interleaved, because
a shared machine is never the same a minute later.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from resdeg.config import DataConfig, Family, HierarchyConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.errors import ResdegError
from resdeg.sweep.executors.process import spawn
from resdeg.sweep.preflight import peak_bytes

if TYPE_CHECKING:
    import torch

    from resdeg.runner import Training

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
    precision: Literal["fp32", "bf16"] = "fp32"
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
    model = build_model(config.family, config.depth)
    split = data.load(DATA).train
    return TextbookLoop(model, split, config.training.batch_size, contender.workers, contender.device).run


def _vectorised(contender: Contender) -> Run:
    """What a careful author writes: whole batches at once, channels_last, float32, no `.item()`."""
    import torch
    from torch.nn import functional

    from resdeg import data
    from resdeg.models import build_model
    from resdeg.runner import Inputs

    torch.set_num_threads(contender.threads)  # and nothing else of what the engine prepares
    config = run_config(contender)
    model = build_model(config.family, config.depth)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = Inputs.of(data.load(DATA), torch.device("cpu"))
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
        return _steps_of(_training(contender), contender.graph)

    def begin() -> Run:
        from resdeg.training.device import own_stream

        stack.enter_context(own_stream(torch_device(contender)))  # for as long as the thread lives
        return _steps_of(_training(contender), contender.graph)

    stack = contextlib.ExitStack()
    lanes = [ThreadPoolExecutor(1) for _ in range(contender.group)]
    runs = [lane.submit(begin).result() for lane in lanes]

    def run(steps: int) -> None:
        for done in [lane.submit(run, steps) for lane, run in zip(lanes, runs, strict=True)]:
            done.result()

    return run


def _worker(contender: Contender) -> Run:
    """A worker of a sweep: its steps, their share of a run's evaluations, and a checkpoint.

    The share is that of recipe short on CIFAR-10; a checkpoint at every call is more than a run takes.
    """
    from resdeg.store import SweepStore, open_run
    from resdeg.training.state import to_bytes

    training = _training(contender)
    take = _steps_of(training)
    images, labels = training.inputs.images, training.inputs.labels

    def run(steps: int) -> None:
        take(steps)
        count = round(steps * training.config.training.batch_size * EVALUATED)
        while count > 0:
            training.scores("test", images[:count], labels[:count], lambda: False)
            count -= len(labels)
        with (
            tempfile.TemporaryDirectory() as folder,
            open_run(SweepStore(Path(folder)).run("bench"), training.config) as session,
        ):
            session.commit(to_bytes(training.state), training.state.step, 0)

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


def _training(contender: Contender) -> Training:
    from resdeg import data
    from resdeg.runner import Training

    return Training.of(run_config(contender), data.load(DATA), torch_device(contender))


def torch_device(contender: Contender) -> torch.device:
    from resdeg.training.device import resolve_device

    return resolve_device(contender.device)


def side(contender: Contender) -> int:
    """Of the square matrices that a contender of kind matrix multiplies."""
    return MATRIX * (ON_A_GPU if contender.device == "cuda" else 1)


def _steps_of(training: Training, graph: bool = False) -> Run:
    take = training.captured() if graph else training.eager()

    def run(steps: int) -> None:
        for _ in range(steps):
            take(training.state.step, 0)
            training.state.step += 1

    return run


LOOPS: dict[str, Callable[[Contender], Run]] = {
    "textbook": _textbook,
    "vectorised": _vectorised,
    "engine": _engine,
    "worker": _worker,
    "matrix": _matrix,
    "copy": _copy,
}


def _serve(pipe: connection.Connection, commands: connection.Connection, contender: str) -> None:
    """Run as many steps as each command says; answer with their seconds and our peak of memory; 0 ends it."""
    settings = Contender.model_validate_json(contender)
    try:
        wait, peak = _ending(settings)
        loop = LOOPS[settings.kind](settings)
        while steps := json.loads(commands.recv_bytes()):
            start = time.perf_counter()
            loop(steps)
            wait()
            pipe.send_bytes(json.dumps([time.perf_counter() - start, peak()]).encode())
    except ResdegError as error:
        pipe.send_bytes(json.dumps({"error": error.what, "remedy": error.remedy}).encode())
    except EOFError:
        pass


def _ending(contender: Contender) -> tuple[Callable[[], object], Callable[[], int]]:
    """What waits until the device is done, and what tells the most memory that was held on it."""
    if contender.device == "cpu":
        return lambda: None, peak_bytes
    import torch

    torch_device(contender)  # or it is said that there is none
    return torch.cuda.synchronize, torch.cuda.max_memory_reserved


@dataclass
class Running:
    """A contender that waits for its turn; one process per copy."""

    contender: Contender
    copies: list[tuple[Any, connection.Connection, connection.Connection]]  # process, answers, commands
    peak_bytes: int = 0

    @classmethod
    def start(cls, contender: Contender) -> Running:
        copies = []
        for _ in range(contender.copies):
            theirs, ours = connection.Pipe(duplex=False)
            process, answers = spawn(_serve, theirs, contender.model_dump_json())
            theirs.close()
            copies.append((process, answers, ours))
        return cls(contender, copies)

    def seconds(self, steps: int) -> float:
        """Seconds until every copy has done `steps` steps; everybody else sleeps.

        Raises:
            ResdegError: the contender died, or cannot run here.
        """
        for _, _, commands in self.copies:
            commands.send_bytes(json.dumps(steps).encode())
        told = [self._answer(answers) for _, answers, _ in self.copies]
        self.peak_bytes = max(self.peak_bytes, sum(int(peak) for _, peak in told))
        return max(seconds for seconds, _ in told)

    def images_per_second(self, steps: int) -> float:
        """Speed over `steps` steps, of all copies together."""
        contender = self.contender
        images = steps * run_config(contender).training.batch_size * len(self.copies) * contender.group
        return images / self.seconds(steps)

    def _answer(self, answers: connection.Connection) -> tuple[float, float]:
        try:
            answer = json.loads(answers.recv_bytes())
        except EOFError:
            raise ResdegError(f"bench: {self.contender.name} died") from None
        if isinstance(answer, dict):
            raise ResdegError(f"bench: {self.contender.name}: {answer['error']}", answer["remedy"])
        return answer[0], answer[1]

    def stop(self) -> None:
        for process, _, commands in self.copies:
            with contextlib.suppress(OSError):
                commands.send_bytes(json.dumps(0).encode())
            process.join(10)
            process.kill()
