"""Where the records of a sweep lie on disk, how a run commits to them, and how it recovers."""

from resdeg.store.folders import RunState, RunStore, SweepStore
from resdeg.store.session import RunSession, keep_measured, open_run

__all__ = ["RunSession", "RunState", "RunStore", "SweepStore", "keep_measured", "open_run"]
