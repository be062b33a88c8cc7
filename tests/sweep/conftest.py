"""A planted sweep, whole and in shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.records import DiagnosticRecord
from resdeg.store import SweepStore
from tests.planted import CELLS, planted
from tests.sweep.shared_out import split


@pytest.fixture
def whole(tmp_path: Path) -> SweepStore:
    """A planted sweep of twelve runs, with measured numbers of one."""
    store = planted(tmp_path / "whole", CELLS)
    record = DiagnosticRecord(kind="responses", state="final", name="std", value=1.0, images=10)
    (store.run(store.run_ids()[7]).folder / "diagnostics.jsonl").write_text(record.to_json() + "\n")
    return store


@pytest.fixture
def shards(whole: SweepStore, tmp_path: Path) -> list[Path]:
    return split(whole, 4, tmp_path)
