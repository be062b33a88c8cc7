"""Functions that workers answer or run in the tests; apart, because each worker imports this module."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import connection
from pathlib import Path
from typing import Any

from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.runner import Trainer
from resdeg.sweep.measuring import Request
from resdeg.sweep.preflight import answer_preflight
from resdeg.sweep.workers.entry import train_runs


def echo(*arguments: Any) -> list[Any]:
    return [*arguments]


def die(*_: Any, **__: Any) -> None:
    os._exit(7)


def kill_itself(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(*_: Any) -> None:
    raise StorageError("no space", "make some")


def name_itself_and_wait(path: str) -> None:
    """Write the process id to `path`, all at once, and take far longer than any test."""
    new = Path(f"{path}.new")
    new.write_text(str(os.getpid()))
    new.rename(path)
    time.sleep(600)


def check_and_wait(config: str, *, read_data: bool, path: str) -> None:
    """A preflight that has done its work and is not done."""
    answer_preflight(config, read_data=read_data)
    name_itself_and_wait(path)


def describe_run(folder: str, run: str, request: Request, threads: int) -> tuple[int, list[str]]:
    """In the place of `measure_run`: the depth as the measures; the other arguments as notices."""
    depth = RunConfig.model_validate_json(run).depth
    return depth, [Path(folder).name, f"{request}", f"{threads} threads"]


def train_with_trouble(
    pipe: connection.Connection, folder: str, execution: str, *, victim: str, way: str, times: int, note: str
) -> None:
    """Train runs as ever, but the `victim` gets into trouble at the twelfth step that an attempt takes.

    Args:
        times: at how many of its attempts; `note` is a file that counts them.
    """
    original, steps = Trainer.batch_at, 0

    def batch_at(trainer: Trainer, step: int) -> Any:
        nonlocal steps
        if trainer.config.run_id == victim:
            steps += 1
            attempts = Path(note)
            if steps == 1:
                with attempts.open("a") as stream:
                    stream.write("x")
            if steps == 12 and len(attempts.read_text()) <= times:
                get_into_trouble(way)
        return original(trainer, step)

    Trainer.batch_at = batch_at  # type: ignore[method-assign]
    train_runs(pipe, folder, execution)


def get_into_trouble(way: str) -> None:
    import torch

    match way:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's faulthandler is inherited
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit 0":
            os._exit(0)
        case "hang":
            time.sleep(60)  # far longer than the silence that is allowed
        case "memory":
            torch.empty(10**15)
        case "raises":
            raise ValueError("of the victim alone")
        case "leaves its thread":
            raise SystemExit
