"""Who carries runs out, by name. An executor is a dumb carrier: results go through the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.records import Progress
from resdeg.sweep.executors.local import Ended, LocalExecutor


class Executor(Protocol):
    """What the supervisor asks of a carrier."""

    def submit(self, run: RunConfig) -> None:
        """Begin the run in a worker of its own."""

    def poll(self, timeout: float) -> list[Progress | Ended]:
        """What happened, waiting at most `timeout` seconds for the first of it."""

    def cancel(self) -> None:
        """Ask every worker to save and stop."""

    def kill(self) -> None:
        """End every worker at once."""


@dataclass(frozen=True)
class Where:
    """What an executor is made from."""

    folder: Path
    execution: ExecutionConfig


EXECUTORS: dict[str, Callable[[Where], Executor]] = {
    "local": lambda where: LocalExecutor(where.folder, where.execution)
}
