"""`--engine`: what is refused before anything is imported or trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.conftest import Resdeg

REFUSED = {
    ("--engine", "rai"): ("engine 'rai' is not known", "did you mean 'ray'?"),
    ("--ray-address", "auto"): ("--ray-address is for a Ray cluster", "add --engine ray"),
    ("--ray-stream",): ("--ray-stream is for a Ray cluster", "add --engine ray"),
    ("--gpus-per-run", "0"): ("--gpus-per-run is for a Ray cluster", "add --engine ray"),
    ("--engine", "ray", "--gpus-per-run", "3"): ("--gpus-per-run 3: a run computes on one GPU", "e.g. 0.5"),
    ("--engine", "ray", "--gpus-per-run", "-1"): ("--gpus-per-run -1: a run computes on one GPU", "e.g. 0.5"),
    ("--engine", "ray", "--gpus-per-run", "nan"): ("--gpus-per-run nan: a run computes", "e.g. 0.5"),
    ("--engine", "ray", "--device", "cuda"): ("--device cuda and --gpus-per-run 0", "leave out --device"),
    ("--engine", "ray", "--device", "cpu", "--gpus-per-run", "1"): ("--device cpu and", "leave out --device"),
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_fits_no_engine_is_refused_in_words(
    resdeg: Resdeg, tiny_toml: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    what, remedy = REFUSED[options]
    for more in ((), ("--dry-run",)):
        refused = resdeg("sweep", tiny_toml, *options, "--out", "out", *more)
        assert refused.returncode == 2
        assert what in refused.stderr
        assert remedy in refused.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_one_line_says_what_to_install(resdeg: Resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    refused = resdeg("sweep", tiny_toml, "--engine", "ray", "--out", "out")
    assert refused.returncode == 2
    assert refused.stderr == "error: Ray is not installed\n       pip install 'resdeg[ray]'\n"
    assert not (tmp_path / "out").exists()
