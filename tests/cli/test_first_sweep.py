"""The first sweep of someone who has no data: fetched, verified, trained on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resdeg import data
from tests.data.small import official_batch, tar, trusting
from tests.served import serving

SCRIPT = """
import dataclasses, sys
from resdeg import data
from resdeg.cli.app import main
url, size, sha256, *arguments = sys.argv[1:]
binary, python = data.cifar.CIFAR10.layouts
python = dataclasses.replace(python, urls=(url,), archive_bytes=int(size), archive_sha256=sha256)
of = dataclasses.replace(data.cifar.CIFAR10, layouts=(binary, python))
data.DATASETS["cifar10"] = data.Source.from_distribution(of)
sys.argv = ["resdeg", *arguments]
main()
"""


@pytest.mark.cifar
@pytest.mark.slow
def test_a_sweep_downloads_the_real_one_and_trains_on_it(cifar_folder: Path, tmp_path: Path) -> None:
    """Through the whole: an archive of the real images on a server that breaks off once, two steps.

    In a process of its own, because the workers take the cache's place from its environment.
    """
    binary, python = data.cifar.CIFAR10.layouts
    source = data.cifar.find(cifar_folder).path
    batches = [
        np.frombuffer((source / name).read_bytes(), np.uint8).reshape(-1, 3073) for name in binary.names
    ]
    archive = tar(dict(zip(python.names, map(official_batch, batches), strict=True)), python.folder)
    told = trusting(archive, python, data.cifar.CIFAR10).layouts[1]
    cut = iter([50_000_000])
    script = {python.archive: lambda h: h.wfile.write(h.rest(archive)[: next(cut, len(archive))])}
    sweep = ["sweep", "--depths", "2", "--seeds", "0", "--steps", "2", "--out", "s"]
    environment = {k: v for k, v in os.environ.items() if k not in ("RESDEG_DATA_DIR", "RESDEG_OFFLINE")}
    with serving(**script) as server:
        facts = [server.url(f"/{python.archive}"), str(told.archive_bytes), told.archive_sha256]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *facts, *sweep],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert [headers.get("Range") for _, headers in server.asked] == [None, "bytes=50000000-"]
    assert done.returncode == 0, done.stderr
    assert "CIFAR-10 is there: 50,000 + 10,000 images, verified" in done.stderr
    (summary,) = (tmp_path / "s" / "runs").glob("*/summary.json")
    assert json.loads(summary.read_text())["data_hash"] == data.cifar.CIFAR10.content
