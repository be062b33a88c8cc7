"""`resdeg.figure`: what a notebook or a script gets, and what it leaves alone."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.figure
import pytest

import resdeg
from resdeg.errors import UsageError
from tests.planted import CELLS, planted

SCRIPT = """
import sys, resdeg
figure = resdeg.figure("s", size=(3.25, 2.4), title="")
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot as plt
assert plt.get_fignums() == []
assert plt.get_backend().lower() == "svg", plt.get_backend()
assert plt.rcParams["font.size"] == 23
figure.axes[0].set_title("mine")
figure.savefig("mine.pdf")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    planted(tmp_path / "s", CELLS)
    return tmp_path / "s"


def test_it_is_a_figure_to_be_changed_and_saved(folder: Path) -> None:
    figure = resdeg.figure(folder, size=(3.25, 2.4), panel="accuracy", dpi=300, title="")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert figure.dpi == 300
    figure.axes[0].set_ylim(0, 1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    width, height = (int.from_bytes(buffer.getvalue()[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (975, 720)
    assert figure._repr_png_().startswith(b"\x89PNG"), "a cell of a notebook shows it"


def test_a_sweep_is_a_folder_or_a_frame_or_several(folder: Path) -> None:
    frame = resdeg.load(folder)
    drawn = [resdeg.figure(given) for given in (folder, str(folder), frame)]
    assert len({len(figure.axes) for figure in drawn}) == 1
    both = resdeg.figure([frame, str(folder)], overlay=True, labels=["one", "two"], panel=["error"])
    assert {"one", "two"} <= {text.get_text() for text in both.legends[0].get_texts()}
    assert len(resdeg.figure(frame, "training").axes) == 2
    with pytest.raises(UsageError, match="no sweep to draw"):
        resdeg.figure([])
    with pytest.raises(UsageError, match="did you mean 'curve'"):
        resdeg.figure(frame, "curv")
    with pytest.raises(UsageError, match="--y is not for --kind responses"):
        resdeg.figure(frame, "responses", y="error")


def test_settings_of_the_program_stay_and_do_not_change_the_figure(folder: Path) -> None:
    def save(figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    usual = save(resdeg.figure(folder, theme="dark"))
    with mpl.rc_context({"font.size": 23, "xtick.color": "red", "lines.linewidth": 9, "axes.grid": False}):
        before = dict(mpl.rcParams)
        assert save(resdeg.figure(folder, theme="dark")) == usual
        assert dict(mpl.rcParams) == before


def test_pyplot_its_backend_and_its_settings_are_the_programs(folder: Path) -> None:
    (folder.parent / "matplotlibrc").write_text("font.size: 23\nbackend: svg\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder.parent / "mine.pdf").read_bytes().startswith(b"%PDF")


def test_broken_settings_of_a_program_stop_no_figure(folder: Path) -> None:
    (folder.parent / "matplotlibrc").write_bytes(b"\xff\xfe no text \xe9")
    line = "import resdeg; resdeg.figure('s').savefig('f.png')"
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=folder.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
