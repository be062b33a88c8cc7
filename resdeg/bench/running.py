"""A loop in a process of its own, which runs when it is asked to.

Each has one process, because threads and allocator settings belong to a process; interleaved, because
a shared machine is never the same a minute later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import connection
from types import MappingProxyType

from resdeg.bench.contenders import LOOPS, Contender, run_config, torch_device
from resdeg.errors import ResdegError
from resdeg.sweep.preflight import peak_bytes
from resdeg.sweep.workers.entry import send
from resdeg.sweep.workers.messages import pack_error
from resdeg.sweep.workers.process import Worker, call

NONE: Mapping[str, str] = MappingProxyType({})


def has_bf16(device: str) -> bool:
    """Says whether `device` computes in bf16; a worker is asked.

    Raises:
        UsageError: it is not on this machine; LostError: the worker died.
    """
    return bool(call(answer_bf16, device, subject="the worker that was asked for bf16"))


def answer_bf16(name: str) -> bool:
    """Answers `has_bf16`, in a worker."""
    from resdeg.training.device import computes_bf16, resolve_device

    return computes_bf16(resolve_device(name))


def serve_loop(pipe: connection.Connection, contender: str, variables: Mapping[str, str]) -> None:
    """Runs as many steps as each message says, in a worker; an empty message ends it.

    The answer is their seconds and the most memory that was held.

    Args:
        variables: environment variables that CUDA reads at its start.
    """
    os.environ.update(variables)
    settings = Contender.model_validate_json(contender)
    try:
        synchronize, peak = _device_functions(settings)
        loop = LOOPS[settings.kind](settings)
        while steps := pipe.recv_bytes():
            start = time.perf_counter()
            loop(int(steps))
            synchronize()
            send(pipe, answer=[time.perf_counter() - start, peak()])
    except ResdegError as error:
        send(pipe, error=pack_error(error))
    except (EOFError, OSError):  # the bench has left
        pass


def _device_functions(contender: Contender) -> tuple[Callable[[], object], Callable[[], int]]:
    """Returns what waits until the device is done, and what measures the most memory that was held on it."""
    if contender.device == "cpu":
        return lambda: None, peak_bytes
    import torch

    torch_device(contender)  # raises where there is none
    return torch.cuda.synchronize, torch.cuda.max_memory_reserved


@dataclass
class Running:
    """A contender that waits for its turn; each copy has a process."""

    contender: Contender
    copies: list[Worker]
    peak_bytes: int = 0

    @classmethod
    def start(cls, contender: Contender, variables: Mapping[str, str] = NONE) -> Running:
        """Starts every copy, with environment `variables`; each waits until `seconds` asks for steps."""
        arguments = (contender.model_dump_json(), dict(variables))
        return cls(contender, [Worker.start(serve_loop, *arguments) for _ in range(contender.copies)])

    def seconds(self, steps: int) -> float:
        """Measures the seconds until every copy has taken `steps` steps, while all others sleep.

        Raises:
            ResdegError: the contender died, or cannot run here.
        """
        for copy in self.copies:
            copy.send(str(steps))
        answers = [self._receive(copy) for copy in self.copies]
        self.peak_bytes = max(self.peak_bytes, sum(int(peak) for _, peak in answers))
        return max(seconds for seconds, _ in answers)

    def images_per_second(self, steps: int) -> float:
        """Measures the speed of all copies together over `steps` steps."""
        contender = self.contender
        images = steps * run_config(contender).training.batch_size * len(self.copies) * contender.group
        return images / self.seconds(steps)

    def _receive(self, copy: Worker) -> tuple[float, float]:
        try:
            seconds, peak = copy.receive()["answer"]
        except ResdegError as error:
            raise ResdegError(f"bench: {self.contender.name}: {error.what}", error.remedy) from None
        return seconds, peak

    def stop(self) -> None:
        """Ends every copy; one that does not leave within ten seconds is killed."""
        for copy in self.copies:
            copy.send("")
            copy.process.join(10)
            copy.kill()
