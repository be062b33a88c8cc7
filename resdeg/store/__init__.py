"""The folders of a sweep's records, the commits of a run to them, and its recovery from them."""

from resdeg.store.copies import RunCopy, check_run, copy_files, find_difference, list_files
from resdeg.store.folders import NO_CHECKPOINT, RunState, RunStore, SweepStore
from resdeg.store.pruning import Prunable, find_prunable, prune
from resdeg.store.session import OpenSession, RunSession, Session, keep_measured, open_run

__all__ = [
    "NO_CHECKPOINT",
    "OpenSession",
    "Prunable",
    "RunCopy",
    "RunSession",
    "RunState",
    "RunStore",
    "Session",
    "SweepStore",
    "check_run",
    "copy_files",
    "find_difference",
    "find_prunable",
    "keep_measured",
    "list_files",
    "open_run",
    "prune",
]
