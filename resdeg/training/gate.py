"""A gate that keeps other threads off the device while one thread captures a CUDA graph.

In every capture mode a call that waits for the whole device breaks a capture, whichever thread makes it
(TensorRT issue 2888), and many calls wait: a copy to the host, and an allocator that grows or frees. A lock
around each of them is wrong as soon as one is forgotten. To capture every graph before any training is no
choice either: a run joins a group while others train, and a constructed network needs a graph of its own.

So a thread works on the device from the first to the last call of its run, and lets captures pass where it
also hears whether it is to stop: between two steps, and between two batches of an evaluation. A capture waits
until no other thread works, which takes as long as the longest step or commit under way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class CaptureGate:
    """Many threads may work on the device at once, or one of them captures."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working: set[int] = set()  # the identifiers of the threads that may call the device
        self._captures = 0  # Captures that wait or are under way; nobody begins to work meanwhile.
        self._turn = threading.Lock()  # The capture under way holds it.

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Lets this thread work on the device within `with`, at first after the captures under way."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def let_captures_pass(self) -> None:
        """Waits for the captures that are waiting; this thread has no call of its own under way."""
        if self._captures:  # Read without the lock, because this is called at every step.
            self._leave()
            self._enter()

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Keeps every other thread off the device within `with`, whether this thread works on it or not."""
        with self._changed:
            worked = threading.get_ident() in self._working
            self._captures += 1
        self._leave()  # Two working threads that want to capture would wait for each other.
        try:
            with self._turn:
                with self._changed:
                    self._changed.wait_for(lambda: not self._working)
                yield
        finally:
            with self._changed:
                self._captures -= 1
                self._changed.notify_all()
            if worked:
                self._enter()

    def _enter(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._captures)
            self._working.add(threading.get_ident())

    def _leave(self) -> None:
        with self._changed:
            self._working.discard(threading.get_ident())
            self._changed.notify_all()


GATE = CaptureGate()  # the gate of this process
