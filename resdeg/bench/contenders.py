"""The loops that are measured, each in a process of its own that runs when it is told to.

One process each, because threads and allocator settings belong to a process; interleaved, because
a shared machine is never the same a minute later.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from resdeg.config import DataConfig, Family, HierarchyConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.errors import ResdegError
from resdeg.sweep.executors.local import spawn

# Images of CIFAR's size from the built-in data set, so that a bench needs no file.
DATA = DataConfig(
    name="hierarchy", hierarchy=HierarchyConfig(levels=3, cell=4, train_images=2_048, test_images=10)
)


class Contender(BaseModel):
    """A loop and its settings."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str  # a key of LOOPS
    threads: int
    workers: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    family: Family = "residual"
    depth: int = 20


def run_config(contender: Contender) -> RunConfig:
    training = TrainingConfig(
        steps=1_000_000,  # more than any bench takes
        schedule="constant",
        lr=0.05,
        precision=contender.precision,
        threads=contender.threads,
    )
    return RunConfig(
        family=contender.family,
        depth=contender.depth, seed=0, data=DATA, model=ModelConfig(), training=training,
    )  # fmt: skip


def _textbook(contender: Contender) -> Callable[[int], object]:
    import torch

    from resdeg import data
    from resdeg.bench.textbook import TextbookLoop
    from resdeg.models import build_model

    torch.set_num_threads(contender.threads)
    config = run_config(contender)
    model = build_model(config.family, config.depth)
    split = data.load(DATA).train
    return TextbookLoop(model, split, config.training.batch_size, contender.workers).run


def _engine(contender: Contender) -> Callable[[int], object]:
    import torch

    from resdeg import data
    from resdeg.runner import Training

    config = run_config(contender)
    training = Training.of(config, data.load(DATA), torch.device("cpu"))
    take = training.eager()

    def run(steps: int) -> None:
        for _ in range(steps):
            take(training.state.step, 0)
            training.state.step += 1

    return run


LOOPS: dict[str, Callable[[Contender], Callable[[int], object]]] = {"textbook": _textbook, "engine": _engine}


def _serve(pipe: connection.Connection, commands: connection.Connection, contender: str) -> None:
    """Run as many steps as each command says and answer with the seconds they took; 0 ends it."""
    loop: Callable[[int], object] | None = None
    settings = Contender.model_validate_json(contender)
    try:
        loop = LOOPS[settings.kind](settings)
        while steps := json.loads(commands.recv_bytes()):
            start = time.perf_counter()
            loop(steps)
            pipe.send_bytes(json.dumps(time.perf_counter() - start).encode())
    except ResdegError as error:
        pipe.send_bytes(json.dumps({"error": error.what, "remedy": error.remedy}).encode())
    except EOFError:
        pass


@dataclass
class Running:
    """A contender that waits for its turn."""

    contender: Contender
    process: Any
    answers: connection.Connection
    commands: connection.Connection

    @classmethod
    def start(cls, contender: Contender) -> Running:
        theirs, ours = connection.Pipe(duplex=False)
        process, answers = spawn(_serve, theirs, contender.model_dump_json())
        theirs.close()
        return cls(contender, process, answers, ours)

    def images_per_second(self, steps: int) -> float:
        """Speed over `steps` steps; everybody else sleeps.

        Raises:
            ResdegError: the contender died, or cannot run here.
        """
        self.commands.send_bytes(json.dumps(steps).encode())
        try:
            answer = json.loads(self.answers.recv_bytes())
        except EOFError:
            raise ResdegError(f"bench: {self.contender.name} died") from None
        if isinstance(answer, dict):
            raise ResdegError(f"bench: {self.contender.name}: {answer['error']}", answer["remedy"])
        return steps * run_config(self.contender).training.batch_size / float(answer)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.commands.send_bytes(json.dumps(0).encode())
        self.process.join(10)
        self.process.kill()
