"""Every command of the README, docs and configurations is run, or priced where it takes long."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from resdeg.config import SweepConfig
from resdeg.sweep.plan import resolve

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """`resdeg ...` and `make ...` in code blocks and in the first column of tables."""
    found = []
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *(ROOT / "results").glob("*/README.md"),
    ):
        text = path.read_text()
        lines = [
            line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
        ]
        lines += re.findall(r"^    (resdeg .*)$", text, re.MULTILINE)
        lines += re.findall(r"^\| `((?:resdeg|make) [^`]*)`", text, re.MULTILINE)
        found += [line for line in lines if line.startswith(("resdeg", "make"))]
    for path in sorted((ROOT / "configs").glob("*.toml")):
        found += re.findall(r"^# Run: +(resdeg .*)$", path.read_text(), re.MULTILINE)
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in found})


def test_the_readme_shows_the_main_road() -> None:
    assert len(commands()) >= 12
    assert {"make demo", "make test", "resdeg plot", "resdeg status"} <= set(commands())


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("resdeg")])
def test_a_command_of_the_readme(command: str, resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    arguments = shlex.split(command)[1:]
    if arguments[0] in ("sweep", "train") and "--dry-run" not in arguments:
        arguments.append("--dry-run")
    elif arguments[0] == "bench":
        arguments += ["--quick", "--pairs", "1", "--steps", "1"]
    elif arguments[0] in ("plot", "status"):
        made = resdeg("sweep", tiny_toml, "--depths", "2", "--seeds", "0")
        assert made.returncode == 0, made.stderr
    done = resdeg(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if arguments[0] == "bench":
        assert re.search(r"engine fp32 +[0-9]+ +[0-9.]+  [0-9.]+ to", done.stdout)


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make")])
def test_a_make_target_of_the_readme(command: str) -> None:
    """That it is there and what it would run; the suite runs under `make test` itself."""
    done = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_a_configuration_opens_with_what_to_expect(path: Path) -> None:
    text = path.read_text()
    for word in ("# Shows:", "# Takes:", "# Expect:", "# Run:"):
        assert word in text
    assert isinstance(resolve(path, {}, [], {}), SweepConfig)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert target.startswith("http") or (ROOT / target).exists(), target
