"""What a sweep asks of whatever trains its runs, and what it hears of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import ResdegError
from resdeg.records import Progress, RunSummary


@dataclass(frozen=True)
class Ended:
    """A run has left its worker. `summary` is what the worker stored; without one, `error` says why."""

    run_id: str
    summary: RunSummary | None
    error: ResdegError | None = None


class Engine(Protocol):
    """Trains runs in workers. Results go through the store; an engine only says what happens.

    The supervisor decides which run comes next, how many run side by side, and whether a lost one is tried
    again. A second engine implements these methods and is given to `run_sweep`; the check before the sweep
    and the store stay those of this machine.

    Attributes:
        description: what the user is to know of it before the first step; empty for this machine's own.
    """

    description: str

    def make_room(self, *, threads: int, memory: int) -> int | None:
        """Is called before the first run: each computes in `threads` threads and takes `memory` bytes.

        Returns:
            How many such runs find room side by side; None where this machine's own number counts.
        """

    def submit(self, run: RunConfig) -> None:
        """Begins to train `run`, from where its folder stands, in a worker; returns at once."""

    def poll(self, timeout: float) -> list[Progress | Ended]:
        """Returns what has happened, waiting at most `timeout` seconds for the first of it.

        Every run that was submitted ends with one `Ended`. A worker that died, or has been silent for too
        long, ends its runs with a LostError, upon which the supervisor tries them again.
        """

    def cancel(self) -> None:
        """Asks every worker to save and stop; returns at once. Their runs end as "stopped"."""

    def kill(self) -> None:
        """Ends every worker now, and returns when none is left. The last checkpoints stand."""


MakeEngine = Callable[[Path, ExecutionConfig], Engine]
"""Makes an engine from the folder of a sweep and how the sweep is to be carried out."""
