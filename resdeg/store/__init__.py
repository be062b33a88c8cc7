"""The folders of a sweep's records, the commits of a run to them, and its recovery from them."""

from resdeg.store.folders import NO_CHECKPOINT, RunState, RunStore, SweepStore
from resdeg.store.pruning import Prunable, find_prunable, prune
from resdeg.store.session import RunSession, keep_measured, open_run

__all__ = [
    "NO_CHECKPOINT",
    "Prunable",
    "RunSession",
    "RunState",
    "RunStore",
    "SweepStore",
    "find_prunable",
    "keep_measured",
    "open_run",
    "prune",
]
