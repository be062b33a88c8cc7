"""The board: a run is not done while its last evaluation goes on."""

from __future__ import annotations

import pytest

from resdeg.cli.console import screen
from resdeg.cli.progress import Board
from resdeg.records import Progress
from resdeg.sweep.estimate import Cost

PRICED = {"a": Cost(100.0, 1.0, 1, clean=0.2), "b": Cost(300.0, 1.0, 1, clean=0.0)}


def test_progress_is_by_cost_and_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "quiet", True)
    board = Board(PRICED)
    board.progress(Progress(run_id="a", step=0, steps=10))
    assert board._done() == 0
    board.progress(Progress(run_id="a", step=10, steps=10))
    assert board._done() == pytest.approx(0.8 * 100 / 400), "its clean training numbers are still to come"
    board.ended("a", None, "lost")
    assert board._done() == pytest.approx(0.25)
    board.progress(Progress(run_id="b", step=5, steps=10))
    assert board._done() == pytest.approx(0.25 + 0.5 * 0.75)
