"""The process on the driver's machine that hears the tasks of a sweep, and writes what they stream."""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resdeg.config import RunConfig
from resdeg.errors import BusyError, ResdegError
from resdeg.store import RunSession, SweepStore, open_run
from resdeg.sweep.workers.messages import pack_error

Reply = dict[str, Any]


@dataclass(frozen=True)
class _Claim:
    """A run that a task writes.

    token: what the task shows, so that one that was given up writes no more; turn: is held while something is
    written, because a claim that ends then would leave the run to two writers.
    """

    token: str
    session: RunSession
    lock: contextlib.ExitStack
    turn: threading.Lock = field(default_factory=threading.Lock)


class Recorder:
    """Is an actor, whose methods are called from several tasks at once.

    Methods with a Reply return a result, or the ResdegError that was raised, and what a session shows its
    training besides: `step`, `recorded` and new notices.
    """

    def __init__(self, folder: str) -> None:
        self._store = SweepStore(Path(folder))
        self._messages = queue.SimpleQueue[tuple[str, dict[str, Any]]]()
        self._claims: dict[str, _Claim] = {}
        self._stopped = False

    # ---------------------------------------------------------------- messages

    def post(self, run_id: str, message: dict[str, Any]) -> bool:
        """Takes a message of a run; returns False if the run is to stop."""
        self._messages.put((run_id, message))
        return not self._stopped

    def take(self, seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """Returns all messages that came before `seconds` have passed, by run, oldest first."""
        time.sleep(seconds)
        taken = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self._messages.get_nowait())
        return taken

    def stop(self) -> None:
        """Asks every run to save and stop, at its next message."""
        self._stopped = True

    # ---------------------------------------------------------------- records

    def open(self, run: str) -> Reply:
        """Opens a run, a RunConfig as JSON; returns a token and the tensors of its checkpoint.

        A task that has it open is one that was given up: its claim ends here.
        """
        config = RunConfig.model_validate_json(run)
        self.give_up(config.run_id)
        with contextlib.ExitStack() as stack:
            try:
                session = stack.enter_context(open_run(self._store.run(config.run_id), config))
            except ResdegError as error:
                return {"failed": pack_error(error)}
            claim = _Claim(secrets.token_hex(8), session, stack.pop_all())
        self._claims[config.run_id] = claim
        return _reply(session, lambda: (claim.token, session.tensors))

    def perform(self, run_id: str, token: str, method: str, arguments: tuple[Any, ...]) -> Reply:
        """Calls a method of the session that was opened with this token; see `resdeg.store.Session`."""
        claim = self._find_claim(run_id, token)
        if claim is not None:
            with claim.turn:
                if self._claims.get(run_id) is claim:  # else it ended while this call waited
                    return _reply(claim.session, lambda: getattr(claim.session, method)(*arguments))
        return {"failed": pack_error(BusyError(f"{run_id}: another task writes its records now"))}

    def close(self, run_id: str, token: str) -> Reply:
        """Leaves a run, unless another task has it now."""
        claim = self._find_claim(run_id, token)
        if claim is not None:
            self._end(run_id, claim)
        return {"result": None, "step": 0, "recorded": 0, "notices": []}

    def give_up(self, run_id: str) -> None:
        """Leaves a run, whoever writes it, when what is being written is whole."""
        claim = self._claims.get(run_id)
        if claim is not None:
            self._end(run_id, claim)

    def _find_claim(self, run_id: str, token: str) -> _Claim | None:
        """Returns the claim that was opened with the token; None where it has ended."""
        claim = self._claims.get(run_id)
        return claim if claim is not None and claim.token == token else None

    def _end(self, run_id: str, claim: _Claim) -> None:
        """Ends a claim, unless another call has ended it."""
        with claim.turn:
            if self._claims.get(run_id) is claim:
                del self._claims[run_id]
                claim.lock.close()


def _reply(session: RunSession, call: Callable[[], Any]) -> Reply:
    try:
        result = call()
    except ResdegError as error:
        return {"failed": pack_error(error)}
    notices, session.notices[:] = list(session.notices), []
    return {"result": result, "step": session.step, "recorded": session.recorded, "notices": notices}
