"""A loop in a process of its own, which runs on command.

Each loop has a process, because threads and allocator settings belong to a process. The loops take turns,
because a shared machine is never the same a minute later.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

from resdeg.bench.contenders import LOOPS, Contender, run_config, torch_device
from resdeg.errors import ResdegError
from resdeg.sweep.executors.process import spawn
from resdeg.sweep.preflight import peak_bytes


def _serve(pipe: connection.Connection, commands: connection.Connection, contender: str) -> None:
    """Runs the steps of each command and answers with their seconds and the peak of memory; 0 ends it."""
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
    """Returns a function that waits for the device, and one that returns the peak of its memory."""
    if contender.device == "cpu":
        return lambda: None, peak_bytes
    import torch

    torch_device(contender)  # raises if there is none
    return torch.cuda.synchronize, torch.cuda.max_memory_reserved


@dataclass
class Running:
    """A contender that waits for its turn, in one process per copy."""

    contender: Contender
    copies: list[tuple[Any, connection.Connection, connection.Connection]]  # process, answers, commands
    peak_bytes: int = 0

    @classmethod
    def start(cls, contender: Contender) -> Running:
        """Starts the processes of the contender."""
        copies = []
        for _ in range(contender.copies):
            theirs, ours = connection.Pipe(duplex=False)
            process, answers = spawn(_serve, theirs, contender.model_dump_json())
            theirs.close()
            copies.append((process, answers, ours))
        return cls(contender, copies)

    def seconds(self, steps: int) -> float:
        """Measures the seconds until every copy has taken `steps` steps, while all others sleep.

        Raises:
            ResdegError: the contender died, or cannot run here.
        """
        for _, _, commands in self.copies:
            commands.send_bytes(json.dumps(steps).encode())
        measured = [self._receive(answers) for _, answers, _ in self.copies]
        self.peak_bytes = max(self.peak_bytes, sum(int(peak) for _, peak in measured))
        return max(seconds for seconds, _ in measured)

    def images_per_second(self, steps: int) -> float:
        """Measures the speed of all copies together over `steps` steps."""
        contender = self.contender
        images = steps * run_config(contender).training.batch_size * len(self.copies) * contender.group
        return images / self.seconds(steps)

    def _receive(self, answers: connection.Connection) -> tuple[float, float]:
        try:
            answer = json.loads(answers.recv_bytes())
        except EOFError:
            raise ResdegError(f"bench: {self.contender.name} died") from None
        if isinstance(answer, dict):
            raise ResdegError(f"bench: {self.contender.name}: {answer['error']}", answer["remedy"])
        return answer[0], answer[1]

    def stop(self) -> None:
        """Ends the processes; one that does not end within 10 seconds is killed."""
        for process, _, commands in self.copies:
            with contextlib.suppress(OSError):
                commands.send_bytes(json.dumps(0).encode())
            process.join(10)
            process.kill()
