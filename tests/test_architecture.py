"""docs/architecture.md: its tree is that of the package, and its changes work on a copy of it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.copies import ROOT, copy_package, run_module

PAGE = (ROOT / "docs" / "architecture.md").read_text()
TINY = (
    "--data", "hierarchy", "--depths", "8", "--seeds", "0", "--steps", "2",
    "--set", "data.hierarchy.train_images=200", "--set", "data.hierarchy.test_images=50",
)  # fmt: skip


def first_sentence(path: Path) -> str:
    """The first line of a file's docstring, without quotes."""
    return path.read_text().splitlines()[0].strip('"').strip()


def listed_files() -> dict[str, str]:
    """Each file of the tree with its phrase, in the order of the page."""
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (.*?) \|$", PAGE, re.MULTILINE)
    return {name: phrase.replace("\\|", "|") for name, phrase in rows}


def test_the_tree_is_that_of_the_package() -> None:
    package = ROOT / "resdeg"
    files = [
        path for path in sorted(package.rglob("*.py")) if path.name != "__init__.py" or path.parent != package
    ]
    assert listed_files() == {str(path.relative_to(package)): first_sentence(path) for path in files}


def test_the_rows_of_the_picture_are_those_of_the_contract() -> None:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0][
        "layers"
    ]
    picture = re.search(r"## The picture\n\n```\n(.*?)```", PAGE, re.DOTALL)[1]
    drawn = [sorted(re.findall(r"[a-z]+", line[:36])) for line in picture.splitlines()]
    assert drawn == [sorted(row.split(" | ")) for row in layers]


def changes() -> list[tuple[str, str, str]]:
    """Every change of the page: the file, its lines before and its lines after."""
    found = []
    for block in re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL):
        for piece in re.split(r"^--- .*\n\+\+\+ b/", block, flags=re.MULTILINE)[1:]:
            path, _, body = piece.partition("\n@@ @@\n")
            lines = body.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            found.append((path, before, "".join(line[1:] for line in lines if line[0] in " +")))
    return found


def apply_changes(folder: Path) -> None:
    """Makes every change of the page in a copy of the repository."""
    for name, before, after in changes():
        path = folder / name
        text = path.read_text() if path.exists() else ""
        assert text.count(before) == 1 or not text, (
            f"{name} has changed: bring the example in docs/architecture.md in step with it\n{before}"
        )
        path.write_text(text.replace(before, after) if before else after)


@pytest.fixture(scope="module")
def changed_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changed")
    copy_package(folder)
    apply_changes(folder)
    return folder


def test_at_least_five_lists_are_applied() -> None:
    assert len(re.findall(r"^### .* ✓$", PAGE, re.MULTILINE)) >= 5
    assert len(re.findall(r"^### ", PAGE, re.MULTILINE)) >= 10
    sections = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    assert [("✓" in section.splitlines()[0]) == ("```diff" in section) for section in sections].count(
        False
    ) == 0


@pytest.mark.slow
def test_the_changes_do_what_the_page_says(changed_copy: Path) -> None:
    settings = ["model.norm=group", "model.activation=silu", "model.init=halved", "training.schedule=cosine"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    run_module(changed_copy, "resdeg", "sweep", *TINY, "--recipe", "demo", "--out", "s", *chosen)
    plan = tomllib.loads((changed_copy / "s" / "sweep.toml").read_text())
    assert (plan["model"]["norm"], plan["model"]["activation"], plan["model"]["init"]) == (
        "group",
        "silu",
        "halved",
    )
    (metrics, *_) = (changed_copy / "s" / "runs").glob("*/metrics.jsonl")
    record = json.loads(metrics.read_text().splitlines()[0])
    assert record["largest_loss"] >= record["train_loss"]
    assert run_module(changed_copy, "resdeg", "last").strip() == "s"
    run_module(changed_copy, "resdeg", "diagnose", "s", "--kinds", "weights", "--images", "20")
    (measured, *_) = (changed_copy / "s" / "runs").glob("*/diagnostics.jsonl")
    assert {json.loads(line)["name"] for line in measured.read_text().splitlines()} == {"size"}
    dry = run_module(
        changed_copy, "resdeg", "sweep", *TINY, "--recipe", "cosine", "--out", "t", "--dry-run", "--json"
    )
    assert json.loads(dry)


@pytest.mark.slow
def test_the_tests_over_the_tables_take_the_changes_up(changed_copy: Path) -> None:
    report = run_module(
        changed_copy,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/models",
        "-k",
        "group or silu or halved",
    )
    assert int(re.search(r"(\d+) passed", report)[1]) >= 20
