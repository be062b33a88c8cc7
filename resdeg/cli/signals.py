"""What INT, TERM and HUP do where there is nothing to save: leave, with the documented exit code."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Within `with`, a signal leaves by SystemExit(128 + n), so that locks and workers are let go.

    One that was ignored when the program started stays so: that is what `nohup` is for.
    """
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
