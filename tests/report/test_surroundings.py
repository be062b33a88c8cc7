"""The same data give the same bytes, whatever the user's environment and matplotlib files hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from resdeg.analysis.frame import SweepFrame, load_sweep
from resdeg.report.canvas import hide_settings
from resdeg.report.kinds import FIGURES
from resdeg.report.page import make_report, render_html
from resdeg.report.style import FORMATS, THEMES, render
from tests.planted import CELLS, diagnosed, planted

PACKAGE = Path(__file__).parents[2] / "resdeg"
# Settings that are read when a figure is made, when its text is set, and when it is saved.
HOSTILE: dict[str, object] = {
    "font.size": 30.0, "font.family": "monospace", "lines.linewidth": 9.0, "figure.dpi": 33.0,
    "axes.unicode_minus": False, "axes.formatter.use_locale": True, "text.usetex": True,
    "savefig.dpi": 37.0, "savefig.bbox": "tight", "savefig.pad_inches": 2.0, "savefig.transparent": True,
    "savefig.facecolor": "red", "savefig.orientation": "landscape", "svg.fonttype": "none",
    "svg.image_inline": False, "pdf.fonttype": 42, "pdf.compression": 0, "pdf.use14corefonts": True,
    "path.simplify": False, "path.sketch": (1.0, 100.0, 2.0), "agg.path.chunksize": 3,
    "figure.constrained_layout.w_pad": 1.0, "timezone": "Asia/Tokyo",
}  # fmt: skip
DRAW = """
from pathlib import Path
from resdeg.cli.plot import draw
from resdeg.report.style import FORMATS
for form in FORMATS:
    draw([Path("s")], "curve", Path(f"figure.{form}"), "light")
"""


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFrame:
    diagnosed(planted(tmp_path / "s", CELLS))
    return load_sweep(tmp_path / "s")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["curve", "lesions"])
def test_settings_of_a_notebook_change_no_figure_and_stay(sweep: SweepFrame, kind: str, form: str) -> None:
    def draw() -> bytes:
        return render(FIGURES[kind]([sweep], THEMES["light"]), form, "about")

    before = draw()
    with mpl.rc_context(HOSTILE):  # type: ignore[arg-type]
        during = dict(mpl.rcParams)
        assert draw() == before
        assert dict(mpl.rcParams) == during, "the notebook's own figures look as they did"


def test_settings_of_a_notebook_change_no_page(sweep: SweepFrame) -> None:
    before = render_html(make_report(sweep))
    with mpl.rc_context(HOSTILE):  # type: ignore[arg-type]
        assert render_html(make_report(sweep)) == before


def drawn(folder: Path, **variables: str) -> dict[str, bytes]:
    """The curve in every format, drawn in `folder` by a process with these variables."""
    done = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=folder, env={**os.environ, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {form: (folder / f"figure.{form}").read_bytes() for form in FORMATS}


def hostile_text() -> str:
    lines = {**HOSTILE, "backend": "TkAgg", "path.sketch": "1, 100, 2", "savefig.facecolor": "0.5"}
    return "".join(f"{name}: {value}\n" for name, value in lines.items()) + "no.such.setting: 1\n"


@pytest.mark.slow
@pytest.mark.usefixtures("sweep")
def test_files_and_variables_change_no_byte(tmp_path: Path) -> None:
    before = drawn(tmp_path)
    home = tmp_path / "home"
    settings = home / ".config" / "matplotlib"
    (settings / "stylelib").mkdir(parents=True)
    for path in (tmp_path / "matplotlibrc", settings / "matplotlibrc", settings / "stylelib" / "x.mplstyle"):
        path.write_text(hostile_text())
    assert drawn(tmp_path, HOME=str(home), XDG_CONFIG_HOME="", TZ="Asia/Tokyo", LC_ALL="C") == before
    for path in (tmp_path / "matplotlibrc", settings / "matplotlibrc", settings / "stylelib" / "x.mplstyle"):
        path.write_bytes(b"\xff\xfe no text \xe9")
    assert drawn(tmp_path, HOME=str(home), XDG_CONFIG_HOME="", MATPLOTLIBRC=str(settings)) == before
    assert drawn(tmp_path, LANG="de_DE.UTF-8", LC_ALL="tr_TR.UTF-8", SOURCE_DATE_EPOCH="12") == before
    assert (
        drawn(tmp_path, MPLCONFIGDIR="/proc/no-folder", MATPLOTLIBRC="/no/file", PYTHONHASHSEED="7") == before
    )


@pytest.mark.slow
@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize(
    "backend",
    [
        "module://matplotlib_inline.backend_inline",
        "module://nothing",
        "nothing.at.all",
        "TkAgg",
        "inline",
        "",
    ],
)
def test_a_backend_that_is_not_here_ends_no_command(tmp_path: Path, backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "resdeg", "plot", "s"], cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": backend}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "s" / "curve.png").stat().st_size > 5_000


def test_what_is_hidden_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    monkeypatch.delenv("MATPLOTLIBRC", raising=False)
    monkeypatch.delitem(sys.modules, "matplotlib")
    with hide_settings():
        assert "MPLBACKEND" not in os.environ
        assert os.environ["MATPLOTLIBRC"] == os.devnull
        assert Path.cwd() != tmp_path
    assert os.environ["MPLBACKEND"] == "nonsense"
    assert "MATPLOTLIBRC" not in os.environ
    assert Path.cwd() == tmp_path


def test_only_one_module_imports_matplotlib() -> None:
    imports = re.compile(r"^\s*(import|from) matplotlib\b", re.MULTILINE)
    sources = [path for path in PACKAGE.rglob("*.py") if imports.search(path.read_text())]
    assert [path.name for path in sources] == ["canvas.py"]
