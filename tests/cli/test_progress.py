"""The board: what it says of a sweep, in a line that fits, on terminals, in notebooks and in pipes."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resdeg.cli.console import moves_cursor, screen
from resdeg.cli.progress import Board, Standing, write_line
from resdeg.records import Progress
from resdeg.sweep.estimate import Cost
from tests.terminals import NOTEBOOK, frames, open_terminal, read_all, terminal

PRICED = {"a": Cost(100.0, 1.0, 1, clean=0.2), "b": Cost(300.0, 1.0, 1, clean=0.0)}
WIDTHS = (40, 80, 200)
WORKERS = (1, 3, 7, 64)
MUST = re.compile(r" *(\d+) %[ ━┄#-]*, (.+) left, (\d+)/64 runs")  # what is never cut


def names(count: int) -> list[str]:
    return [f"{'plain' if n % 2 else 'residual'}-d110-s{n // 2}-{n:08x}" for n in range(count)]


def follow(board: Board, workers: int) -> None:
    """Plants the events of 64 runs, of which so many are under way, half way and then one at its end."""
    runs = names(64)
    for step in (0, 400, 800):
        for run_id in runs[:workers]:
            board.progress(Progress(run_id=run_id, step=step, steps=1600))
    board.ended(runs[0], None, "a planted failure")


def make_board(heartbeat: float = 30.0) -> Board:
    return Board({run_id: Cost(100.0, 1.0, 1, clean=0.0) for run_id in names(64)}, heartbeat)


def test_progress_is_by_cost_and_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "quiet", True)
    board = Board(PRICED)
    board.progress(Progress(run_id="a", step=0, steps=10))
    assert board._measure().share == 0
    board.progress(Progress(run_id="a", step=10, steps=10))
    assert board._measure().share == pytest.approx(0.8 * 100 / 400), (
        "its clean training numbers are still to come"
    )
    board.ended("a", None, "lost")
    assert board._measure().share == pytest.approx(0.25)
    board.progress(Progress(run_id="b", step=5, steps=10))
    assert board._measure().share == pytest.approx(0.25 + 0.5 * 0.75)


def test_what_runs_had_done_before_does_not_shorten_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "quiet", True)
    now = 100.0
    monkeypatch.setattr("resdeg.cli.progress.time.monotonic", lambda: now)
    board = Board({run_id: Cost(50.0, 1.0, 1, clean=0.0) for run_id in "abc"})
    for run_id in "ab":
        board.progress(Progress(run_id=run_id, step=5, steps=10))
    assert board._measure().seconds_left is None
    now = 110.0
    for run_id in "ab":
        board.progress(Progress(run_id=run_id, step=6, steps=10))
    assert board._measure().seconds_left == pytest.approx(10 * (0.4 + 0.4 + 1) / (0.1 + 0.1))


@pytest.mark.parametrize("bar", ["", "#-"])
@pytest.mark.parametrize("width", [*WIDTHS, 39, 79, 199])
def test_what_matters_most_is_never_cut(width: int, bar: str) -> None:
    for workers in range(1, 65):
        check_line(width, workers, bar)


def check_line(width: int, workers: int, bar: str) -> None:
    running = [name.rpartition("-")[0] for name in names(workers)]
    longest = Standing(0.999, 3.5e6, 3.5e6, 63, 64, running)
    line = write_line(longest, width, bar=bar)
    assert len(line) <= width
    assert MUST.match(line).groups() == ("99", "972 h 13 min", "63")
    assert ("#" in line) == (bool(bar) and width > 60)
    shown = line.count("-d110-")
    more = re.search(r"\+(\d+) more$", line)
    assert shown + int(more[1] if more else 0) == (workers if shown else 0), "all are listed or counted"
    assert width < 190 or shown >= min(workers, 6)
    assert width < 79 or shown >= 1


def test_there_is_no_time_left_before_it_is_known_and_no_100_percent_before_the_end() -> None:
    line = write_line(Standing(0.9999, 9.0, None, 0, 2, ["a"]), 80)
    assert line == " 99 %, 0/2 runs: a; 9 s so far"
    assert write_line(Standing(1.0, 9.0, 0.0, 2, 2, []), 80) == "100 %, 0 s left, 2/2 runs; 9 s so far"


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("columns", WIDTHS)
def test_on_a_terminal_the_line_is_drawn_over_and_never_wraps(
    columns: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch, columns) as shown, make_board() as board:
        follow(board, workers)
    (text,) = shown
    assert "\x1b[2K" in text, "it is drawn over"
    drawn = [line for line in frames(text) if " % " in line or " %," in line]
    assert max(map(len, drawn)) < columns
    last = MUST.match(drawn[-1])
    assert last is not None, drawn[-1]
    assert last[3] == "1", "one has ended"
    assert ("━" in drawn[-1] or "┄" in drawn[-1]) == (columns >= 80)
    assert ("residual-d110-s1" in drawn[-1] or "plain-d110-s0" in drawn[-1]) == (
        columns >= 80 and workers > 1
    )
    assert "residual-d110-s0-00000000 failed: a planted failure" in text


@pytest.mark.parametrize(
    "environment", [NOTEBOOK, {"TERM": "dumb"}, {"TERM": ""}], ids=["jupyter", "dumb", "unset"]
)
@pytest.mark.parametrize("columns", WIDTHS)
def test_where_nothing_is_drawn_over_there_is_a_line_now_and_then(
    columns: int, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch, columns, **environment) as shown, make_board(heartbeat=0.0) as board:
        follow(board, 64)
    (text,) = shown
    assert "\x1b" not in text
    assert text.count("\r") == text.count("\r\n"), "no line is overwritten"
    beats = [line for line in frames(text) if " %, " in line]
    assert len(beats) == 3 * 64 + 1, "every event is shown at a heartbeat of nothing"
    assert max(map(len, beats)) <= columns
    assert MUST.match(beats[-1]) is not None
    assert columns < 200 or re.search(r"plain-d110-s0 800/1,600, .*\+\d+ more$", beats[-1])
    with terminal(monkeypatch, columns, **environment) as shown, make_board() as board:
        follow(board, 64)
    assert frames(shown[0]) == ["residual-d110-s0-00000000 failed: a planted failure"], "30 s are not over"


@pytest.mark.parametrize("columns", [40, 200])
def test_in_a_pipe_a_line_is_as_long_as_the_variable_says(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    screen.__dict__.pop("rich", None)
    with make_board(heartbeat=0.0) as board:
        follow(board, 64)
    screen.__dict__.pop("rich", None)
    said = capsys.readouterr()
    assert said.out == ""
    beats = [line for line in said.err.splitlines() if " %, " in line]
    assert columns - 20 <= max(map(len, beats)) <= columns
    assert "\x1b" not in said.err


@pytest.mark.parametrize(
    ("environment", "draws"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "JUPYTER_SERVER_URL": "http://localhost:8888/"}, True),  # JupyterLab's terminal
        ({"TERM": "xterm", "MPLBACKEND": "agg"}, True),
        ({"TERM": "xterm-color", "JPY_PARENT_PID": "3"}, False),
        ({"TERM": "xterm-color", "MPLBACKEND": "module://ipykernel.pylab.backend_inline"}, False),
        (NOTEBOOK, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({}, False),
    ],
)
def test_a_notebook_is_no_terminal_that_draws_over(environment: dict[str, str], draws: bool) -> None:
    leader, follower = open_terminal(80)
    with os.fdopen(follower, "w") as stream:
        assert moves_cursor(stream, environment) == draws
    os.close(leader)
    assert not moves_cursor(io.StringIO(), environment)


@pytest.mark.slow
def test_a_sweep_behind_an_exclamation_mark_fills_no_notebook(tiny_toml: Path, tmp_path: Path) -> None:
    leader, follower = open_terminal(80)
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | NOTEBOOK
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", "sweep", tiny_toml, "--depths", "2,8", "--seeds", "0", "--out", "n"],
        cwd=tmp_path, stdout=follower, stderr=follower, stdin=follower, env=environment,
    )  # fmt: skip
    os.close(follower)
    shown = read_all(leader)
    assert process.wait(60) == 0
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", shown)
    assert shown.count("\r") == shown.count("\r\n")
    assert shown.count(" finished in ") == 3
    assert len(shown) < 5_000
    assert frames(shown)[-1] == "n/curve.png"
