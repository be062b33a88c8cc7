"""The folders of a sweep's records, the commits of a run to them, and its recovery from them."""

from resdeg.store.folders import RunState, RunStore, SweepStore
from resdeg.store.session import RunSession, keep_measured, open_run

__all__ = ["RunSession", "RunState", "RunStore", "SweepStore", "keep_measured", "open_run"]
