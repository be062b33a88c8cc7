"""Processes that die with the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # sys/prctl.h


def die_with_parent(number: signal.Signals) -> None:
    """Get `number` when the thread that started this process ends; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
