"""What a worker says, as JSON: errors that keep their kind, and the events of a run."""

from __future__ import annotations

from typing import Any

from resdeg.errors import BusyError, DataError, LostError, ResdegError, StorageError, UsageError
from resdeg.records import Progress, RunSummary
from resdeg.sweep.engine import Ended

_ERRORS = {
    kind.exit_code: kind for kind in (ResdegError, UsageError, LostError, DataError, StorageError, BusyError)
}


def pack_error(error: ResdegError) -> dict[str, Any]:
    """Returns what `unpack_error` makes the same error of."""
    return {"code": error.exit_code, "what": error.what, "remedy": error.remedy}


def unpack_error(packed: dict[str, Any]) -> ResdegError:
    """Returns the error that `pack_error` packed."""
    return _ERRORS.get(packed["code"], ResdegError)(packed["what"], packed["remedy"])


def read_event(run_id: str, message: dict[str, Any]) -> Progress | Ended | None:
    """Returns what a worker says of a run; None where the message is only a sign of life."""
    if "alive" in message:
        return None
    if "progress" in message:
        return Progress.model_validate(message["progress"])
    if "failed" in message:
        return Ended(run_id, None, unpack_error(message["failed"]))
    return Ended(run_id, RunSummary.from_json(message["summary"], "worker"))
