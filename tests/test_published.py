"""What is published is what its records give: every figure, table and report, byte for byte."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.redraw import RESULTS, SWEEPS, commands, figures, required

ROOT = RESULTS.parent


@pytest.mark.slow
@pytest.mark.parametrize("folder", SWEEPS, ids=lambda path: str(path.relative_to(RESULTS)))
def test_records_give_what_is_published(folder: Path, resdeg, tmp_path: Path) -> None:
    """As `make figures` does, in a copy."""
    copy, drawn = tmp_path / folder.name, {*required(folder), *figures(folder)}
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*drawn))
    for arguments in commands(folder, copy):
        done = resdeg(*arguments)
        assert done.returncode == 0, done.stderr
    for name in drawn:
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_readme_says_what_the_report_on_real_images_says() -> None:
    """Effect, interval and verdict of each row."""
    report = (ROOT / "results" / "cifar10" / "report.md").read_text()
    readme = (ROOT / "README.md").read_text()
    rows = [line.split("|")[1:-1] for line in readme.splitlines() if line.startswith("| C")]
    assert [row[0].split()[0] for row in rows] == ["C1", "C2", "C3", "C4", "C6", "C7"]
    for claim, effect, reached in rows:
        (line,) = (one for one in report.splitlines() if one.startswith(f"| {claim.split()[0]} "))
        assert f"**{reached.strip()}**" in line
        told = line.replace("+", "").replace(" of the depth", "")
        for part in effect.strip().replace("+", "").rstrip(")").split(" ("):
            assert part in told, (claim, part)


def test_the_list_of_results_has_each_folder_and_its_verdicts() -> None:
    rows = re.findall(
        r"^\| \[(.+?)\]\(.+?\) \|.*\| (yes|no) \| (.+?) \|$",
        (RESULTS / "README.md").read_text(),
        re.MULTILINE,
    )
    listed = {name: (fixed, told) for name, fixed, told in rows}
    pages = {
        name: [path.read_text() for path in sorted((RESULTS / name).rglob("report.md"))] for name in listed
    }
    assert sum(map(len, pages.values())) == len(SWEEPS)
    for name, (fixed, told) in listed.items():
        verdicts = []
        for page in pages[name]:
            assert ("The rules were fixed before the first step" in page) == (fixed == "yes"), name
            reached = re.findall(r"^\| (C\d+) .*?\*\*(SUPPORTED|REFUTED|UNDECIDED)\*\*", page, re.MULTILINE)
            verdicts += [f"{claim} {verdict}" for claim, verdict in reached]
        assert told == ", ".join(verdicts) or (told.startswith("none") and not verdicts), name
