"""Who carries runs out, by name. An executor is a dumb carrier: results go through the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.records import Progress
from resdeg.sweep.executors.grouped import GroupedExecutor
from resdeg.sweep.executors.local import Ended, LocalExecutor


class Executor(Protocol):
    """What the supervisor asks of a carrier."""

    def submit(self, run: RunConfig) -> None:
        """Begin the run in a worker."""

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


def _local(where: Where) -> Executor:
    kind = LocalExecutor if where.execution.group == 1 else GroupedExecutor
    return kind(where.folder, where.execution)


EXECUTORS: dict[str, Callable[[Where], Executor]] = {"local": _local}
