"""Workers of `resdeg.sweep.measuring` that measure nothing; apart, because each imports this module."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.sweep.executors.process import send, send_error
from resdeg.sweep.measuring import Request


def tells_its_run(pipe: Any, folder: str, run: str, request: Request, threads: int) -> None:
    """The depth as the number of measures; all else that it was told as notices."""
    config = RunConfig.model_validate_json(run)
    send(pipe, measures=config.depth, notices=[Path(folder).name, f"{request}", f"{threads} threads"])


def dies(*_: Any) -> None:
    os._exit(7)


def refuses(pipe: Any, *_: Any) -> None:
    send_error(pipe, StorageError("no space", "make some"))
