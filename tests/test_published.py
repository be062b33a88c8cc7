"""What is published is what its records give: every figure, table and report, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resdeg.report.kinds import FIGURES

ROOT = Path(__file__).parents[1]
SWEEPS = sorted(path.parent for path in (ROOT / "results").glob("**/sweep.toml") if "local" not in path.parts)
ALWAYS = ("curve.csv", "runs.csv", "curve.png", "training.png", "report.md", "report.html")
ALSO = {f"{kind}.png": ("--kind", kind) for kind in FIGURES if f"{kind}.png" not in ALWAYS}
ALSO["curve-running.png"] = ("--evaluation", "running")


@pytest.mark.slow
@pytest.mark.parametrize("folder", SWEEPS, ids=lambda path: str(path.relative_to(ROOT / "results")))
def test_records_give_what_is_published(folder: Path, resdeg, tmp_path: Path) -> None:
    """As `make figures` does, in a copy."""
    copy = tmp_path / folder.name
    also = [name for name in ALSO if (folder / name).exists()]
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*ALWAYS, *ALSO))
    for command in ((), ("--kind", "training"), *((*ALSO[name], "--out", copy / name) for name in also)):
        done = resdeg("plot", copy, *command)
        assert done.returncode == 0, done.stderr
    assert resdeg("report", copy).returncode == 0
    for name in (*ALWAYS, *also):
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_readme_says_what_the_report_of_the_demo_says() -> None:
    """Effect, interval and verdict of each row."""
    report = (ROOT / "results" / "demo" / "report.md").read_text()
    readme = (ROOT / "README.md").read_text()
    rows = [line.split("|")[1:-1] for line in readme.splitlines() if line.startswith("| C")]
    assert [row[0].split()[0] for row in rows] == ["C1", "C2", "C3", "C4"]
    for claim, effect, reached in rows:
        (line,) = (one for one in report.splitlines() if one.startswith(f"| {claim.split()[0]} "))
        assert f"**{reached.strip()}**" in line
        told = line.replace("+", "").replace(" of the depth", "")
        for part in effect.strip().replace("+", "").rstrip(")").split(" ("):
            assert part in told, (claim, part)


def test_make_figures_knows_every_kind() -> None:
    (line,) = (one for one in (ROOT / "Makefile").read_text().splitlines() if one.startswith("KINDS := "))
    assert {*line.split()[2:], "curve", "training"} == {*FIGURES}
