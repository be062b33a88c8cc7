"""The folders of a sweep's records, the commits of a run to them, and its recovery from them."""

from resdeg.store.folders import NO_CHECKPOINT, RunState, RunStore, SweepStore
from resdeg.store.pruning import Prunable, find_prunable, prune
from resdeg.store.session import OpenSession, RunSession, Session, keep_measured, open_run

__all__ = [
    "NO_CHECKPOINT",
    "OpenSession",
    "Prunable",
    "RunSession",
    "RunState",
    "RunStore",
    "Session",
    "SweepStore",
    "find_prunable",
    "keep_measured",
    "open_run",
    "prune",
]
