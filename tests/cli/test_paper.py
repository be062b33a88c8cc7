"""`resdeg plot` with choices for a paper: the command writes what is asked for, or says why not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.planted import CELLS, planted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    planted(tmp_path / "a" / "run", CELLS)
    return tmp_path / "a" / "run"


def measure(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_a_figure_has_the_size_and_the_pixels_that_were_asked_for(
    resdeg, folder: Path, tmp_path: Path
) -> None:
    one = ("--panel", "accuracy", "--title", "", "--font-size", "7")
    for size, dpi, pixels in (("3.25x2.4", 300, (975, 720)), ("8cmx6cm", 254, (800, 600))):
        done = resdeg("plot", folder, "--size", size, "--dpi", dpi, *one, "--out", "f.png")
        assert (done.returncode, done.stdout, done.stderr) == (0, "f.png\n", "")
        assert measure((tmp_path / "f.png").read_bytes()) == pixels


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "0x2"], "not between 1 and 60 inches"),
        (["--size", "1x1"], "too little room"),
        (["--dpi", "300", "--out", "new/f.pdf"], "--dpi is for PNG; new/f.pdf has no pixels"),
        (["--kind", "training", "--x", "parameters"], "--x is not for --kind training"),
        (["--overlay"], "--overlay needs two sweeps"),
        (["--labels", "a,b"], "--labels names 2, and 1 is drawn"),
        (["--panel", "eror"], "did you mean 'error'?"),
        (["--out", "new/f.gif"], "end a figure in png, svg, pdf, eps, pgf"),
    ],
)
def test_a_refusal_is_in_words_and_writes_nothing(
    resdeg, folder: Path, options: list[str], words: str
) -> None:
    before = sorted(folder.parents[1].rglob("*"))
    done = resdeg("plot", folder, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert sorted(folder.parents[1].rglob("*")) == before


def test_the_picture_of_the_sweep_is_drawn_without_choices(resdeg, folder: Path) -> None:
    """A choice gets a file of its own, which it names; several sweeps say what they replaced."""
    assert resdeg("plot", folder).stdout == f"{folder}/curve.png\n"
    before = (folder / "curve.png").read_bytes()
    for options, name in (
        (("--theme", "dark"), "curve-dark"),
        (("--theme", "light", "--evaluation", "running"), "curve-running"),
        (("--title", "", "--font-size", "9", "--y", "error"), "curve-title-font-size-y"),
        (("--kind", "training", "--dpi", "80"), "training-dpi"),
    ):
        done = resdeg("plot", folder, *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder}/{name}.png\n", "")
    assert (folder / "curve.png").read_bytes() == before
    planted(folder.parent / "other", CELLS)
    said = resdeg("plot", folder, folder.parent / "other").stderr
    assert f"note: curve.png, curve.csv and runs.csv in {folder} show 2 sweeps now" in said
    assert resdeg("plot", folder).stderr == ""
    assert (folder / "curve.png").read_bytes() == before


def test_equal_folder_names_differ_in_tables_and_schedules_are_overlaid(
    resdeg, folder: Path, tmp_path: Path
) -> None:
    planted(tmp_path / "b" / "run", CELLS)
    planted(tmp_path / "c" / "run", CELLS, training={"epochs": 20})
    assert resdeg("plot", folder, "b/run").returncode == 0
    table = pd.read_csv(folder / "curve.csv")
    assert list(dict.fromkeys(table["sweep"])) == ["a/run", "b/run"]
    refused = resdeg("plot", folder, "c/run")
    assert refused.returncode == 2
    assert "--overlay" in refused.stderr
    assert (
        resdeg("plot", folder, "c/run", "--overlay", "--labels", "short,long", "--out", "f.svg").returncode
        == 0
    )
    drawing = (tmp_path / "f.svg").read_text()
    assert ">short: 2 epochs</text>" in drawing
    assert ">long: 20 epochs</text>" in drawing


def test_a_chinese_folder_is_drawn_without_a_word(resdeg, folder: Path) -> None:
    named = folder.rename(folder.parent / "深度实验")
    done = resdeg("plot", named, named, "--out", "f.pdf")
    assert (done.returncode, done.stderr) == (0, "")
