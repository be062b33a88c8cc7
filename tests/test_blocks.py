"""The example of docs/blocks.md, applied to a copy of the package as its reader would."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.copies import ROOT, copy_package, run_module


@pytest.mark.slow
def test_the_added_block_trains_and_the_tests_take_it_up(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "blocks.md").read_text()
    code, row = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (command,) = re.findall(r"```sh\n(resdeg [^#\n]*)", page)
    copy_package(tmp_path)
    path = tmp_path / "resdeg" / "models" / "block.py"
    text = path.read_text()
    before_the_table = "\n\nBLOCKS: dict"
    assert text.count(before_the_table) == 1
    text = text.replace(before_the_table, f"\n\n{code}{before_the_table}")
    path.write_text(text.rstrip().removesuffix("}") + row + "}\n")

    run = functools.partial(run_module, tmp_path)
    told = run("pytest", "-q", "-p", "no:cacheprovider", "tests/models", "-k", "postnorm")
    assert int(re.search(r"(\d+) passed", told)[1]) >= 20
    if (ROOT / ".mypy_cache").is_dir():  # of `make check`: it knows torch, which takes half a minute to read
        shutil.copytree(ROOT / ".mypy_cache", tmp_path / "mypy")
    told = run("mypy", "resdeg/models/block.py", "--cache-dir", str(tmp_path / "mypy"))
    assert "Success" in told
    tiny = ["--data", "hierarchy", "--recipe", "demo", "--depths", "8", "--seeds", "0", "--steps", "2"]
    few = ["--set", "data.hierarchy.train_images=200", "--set", "data.hierarchy.test_images=50"]
    assert "curve.png" in run(*shlex.split(command), *tiny, *few)
