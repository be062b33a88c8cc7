"""The recipes of docs/cluster.md, as they stand, in loops that stand for the schedulers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resdeg.store import SweepStore

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
SHARDS = 2
# What the schedulers do with a script or a command: it is run once for each number of the array.
LOOP = 'for ID in $(seq {shards}); do\n  {variables} "$@" || exit\ndone\n'
SCHEDULERS = {
    "sbatch": 'shift\nset -- bash "$1"\n'
    + LOOP.format(shards=SHARDS, variables="SLURM_ARRAY_TASK_ID=$ID SLURM_CPUS_PER_TASK=1"),
    "hq": 'while [ "$1" != -- ]; do shift; done\nshift\n'
    + LOOP.format(shards=SHARDS, variables="HQ_TASK_ID=$ID"),
    "resdeg": f'exec "{sys.executable}" -m resdeg "$@"\n',
}


def blocks(title: str) -> list[str]:
    """The code blocks below a title."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```(?:sh|yaml)\n(.*?)```", section, re.DOTALL)
    assert found, title
    return found


def write_recipe(title: str, folder: Path) -> str:
    """Returns a script of the recipe, and writes the files that it names."""
    if title == "A SLURM array":
        script, commands = blocks(title)
        (folder / "shards.sh").write_text(make_small(script))
        return make_small(commands)
    if title == "HyperQueue":
        return make_small(blocks(title)[0])
    runs = [re.findall(r"- run: (resdeg .*)", block) for block in blocks(title)]
    (sweep,), (collect,) = runs
    tasks = [sweep.replace("${{ matrix.shard }}", str(number)) for number in range(1, SHARDS + 1)]
    return make_small("\n".join([*tasks, collect]))


def make_small(text: str) -> str:
    text = re.sub(r"configs/[a-z0-9]+\.toml", "tiny.toml --depths 2,8 --seeds 0 --steps 2", text)
    return text.replace("/8", f"/{SHARDS}").replace("--jobs 2", "--jobs 1")


@pytest.mark.slow
@pytest.mark.parametrize("title", ["A SLURM array", "HyperQueue", "A matrix of GitHub Actions"])
def test_a_recipe_trains_all_shares_and_puts_them_together(
    title: str, tiny_toml: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in SCHEDULERS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}")
        (programs / name).chmod(0o755)
    script = write_recipe(title, tmp_path)
    assert script.count("resdeg collect shards/* --out results/local/") == 1
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 of 3 runs have ended; 3 copied, 0 were there before" in done.stdout
    (folder,) = (path for path in (tmp_path / "results" / "local").iterdir() if path.is_dir())
    assert len(SweepStore(folder).run_ids()) == 3
    shares = [len(SweepStore(tmp_path / "shards" / str(number)).run_ids()) for number in (1, 2)]
    assert sorted(shares) == [1, 2]
