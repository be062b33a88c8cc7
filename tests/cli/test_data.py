"""`resdeg data`: fetch, import, verify and path, as a user meets them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from resdeg import data
from resdeg.cli import options
from resdeg.data.cache import cache_folder
from resdeg.errors import DataError
from tests.data.copied import write_by_class, write_kaggle
from tests.data.small import (
    PYTHON,
    SMALL,
    binary_files,
    python_files,
    records,
    tar,
    trusting,
    write_folder,
)
from tests.served import serving

ARCHIVE = tar(python_files(records()), PYTHON.folder)
LITTLE = trusting(ARCHIVE, PYTHON)


@pytest.fixture(autouse=True)
def little_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(data.DATASETS, "cifar10", data.Source.from_distribution(LITTLE))
    monkeypatch.delenv("RESDEG_DATA_DIR", raising=False)


def test_fetch_then_it_is_there(resdeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESDEG_OFFLINE", "0")
    with serving(**{PYTHON.archive: lambda handler: handler.wfile.write(handler.rest(ARCHIVE))}) as server:
        mirror = server.url(f"/{PYTHON.archive}")
        first = resdeg("data", "fetch", "--mirror", mirror)
        assert first.returncode == 0, first.stderr
        assert "60 training and 30 test images, 10 classes" in first.stdout
        assert "CIFAR-10 is there: 60 + 30 images, verified" in first.stderr
        again = resdeg("data", "fetch", "--mirror", mirror, "--json")
        assert len(server.asked) == 1
    told = json.loads(again.stdout)
    assert told["hash"] == data.cifar.load(None, LITTLE).hash
    assert told["genuine"] is None, "of the little set there is no published hash"
    assert resdeg("data", "path").stdout.strip() == str(tmp_path / "cache" / "arrays" / "cifar10")
    assert list((tmp_path / "cache" / "downloads").glob("*.gz")) == [], "the archive is not kept twice"


def test_offline_asks_nobody(resdeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.build_opener", lambda *_: pytest.fail("it asked"))
    for arguments in (["data", "fetch"], ["data", "fetch", "--offline"]):
        done = resdeg(*arguments)
        assert done.returncode == 4
        assert "downloads are off" in done.stderr
        monkeypatch.delenv("RESDEG_OFFLINE", raising=False)
    assert resdeg("sweep", "--depths", "8", "--offline").returncode == 4


def test_import_an_archive_or_a_folder(resdeg, tmp_path: Path) -> None:
    (tmp_path / "given.tgz").write_bytes(ARCHIVE)
    write_folder(tmp_path / "folder", binary_files(records()))
    hashes = set()
    for place in ("given.tgz", "folder"):
        done = resdeg("data", "import", place, "--json")
        assert done.returncode == 0, done.stderr
        hashes.add(json.loads(done.stdout)["hash"])
    assert len(hashes) == 1
    (tmp_path / "given.tgz").unlink()
    assert "60 training" in resdeg("data", "verify").stdout
    (tmp_path / "bad.tgz").write_bytes(b"\x1f\x8b" + ARCHIVE[2:-1] + b"x")
    assert resdeg("data", "import", "bad.tgz").returncode == 4
    assert resdeg("data", "verify").returncode == 0, "what was there stands"


def test_import_a_copy_in_another_form(resdeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESDEG_OFFLINE", "0")
    *train, test = records()
    folder = write_by_class(tmp_path / "my pngs", np.concatenate(train), test)
    refused = resdeg("sweep", "--depths", "8", "--data-dir", folder)
    assert (refused.returncode, len(refused.stderr.strip().splitlines())) == (4, 2)
    assert f"run `resdeg data import '{folder}'` once, then leave --data-dir out" in refused.stderr
    done = resdeg("data", "import", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "PNGs by class, 60 + 30 images"
    write_folder(tmp_path / "batches", binary_files(records()))
    official = resdeg("data", "import", "batches", "--json")
    assert official.stdout == done.stdout, "every form is the same data set"
    assert official.stderr == ""
    kaggle = write_kaggle(tmp_path / "kaggle", np.concatenate(train), test)
    (kaggle / "testLabels.csv").unlink()
    refused = resdeg("data", "import", kaggle)
    assert (refused.returncode, len(refused.stderr.strip().splitlines())) == (4, 2)
    assert "Kaggle's test images cannot be proven genuine" in refused.stderr
    assert resdeg("data", "verify").returncode == 0, "what was there stands"


def test_verify_reads_the_files_and_not_the_cache(resdeg, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", binary_files(records()))
    assert resdeg("data", "verify", "--data-dir", folder).returncode == 0
    data.cifar.load(folder, LITTLE)
    content = bytearray((folder / "test_batch.bin").read_bytes())
    content[0] = 11
    stat = (folder / "test_batch.bin").stat()
    (folder / "test_batch.bin").write_bytes(content)
    os.utime(folder / "test_batch.bin", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert data.cifar.load(folder, LITTLE).classes == 10, "the cache believes the time stamp"
    done = resdeg("data", "verify", "--data-dir", folder)
    assert done.returncode == 4
    assert "label 11" in done.stderr


def test_path_says_where_or_leaves_with_4(resdeg, tmp_path: Path) -> None:
    assert resdeg("data", "path").returncode == 4
    folder = write_folder(tmp_path / "folder", binary_files(records()))
    done = resdeg("data", "path", "--data-dir", folder, "--json")
    assert json.loads(done.stdout) == {"path": str(folder), "layout": "binary"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["fetch", "--data", "hierarchy"], 2, "built in"),
        (["fetch", "--data", "cifar"], 2, "did you mean 'cifar10'?"),
        (["fetch", "--mirror", "https://one.example/other.zip"], 4, "does not end in cifar-10-binary.tar.gz"),
        (["import", "nowhere"], 4, "nowhere is not there"),
    ],
)
def test_what_cannot_be_got(resdeg, monkeypatch, arguments: list[str], code: int, told: str) -> None:
    monkeypatch.setenv("RESDEG_OFFLINE", "")
    done = resdeg("data", *arguments)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (code, 2), done.stderr
    assert told in done.stderr


def test_a_sweep_fetches_what_it_needs_after_it_was_checked(resdeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESDEG_OFFLINE", "")
    asked = []

    def download(of, offline):
        asked.append(of.name)
        raise DataError("no source gave it")

    monkeypatch.setattr("resdeg.cli.sweep.download", download)
    typo = resdeg("sweep", "--depths", "8", "--set", "model.norm=bacth")
    assert (typo.returncode, asked) == (2, [])
    done = resdeg("sweep", "--depths", "8")
    assert (done.returncode, asked) == (4, ["cifar10"])
    assert "no source gave it" in done.stderr
    for more, where in (
        ((), f"to be downloaded into {cache_folder()}, 0.3 MB"),
        (("--offline",), "not in the cache, and downloads are off"),
        (("--data-dir", "nowhere"), "not found in nowhere"),
    ):
        dry = resdeg("sweep", "--depths", "8", "--dry-run", *more)
        assert (dry.returncode, f" ({where})\n" in dry.stderr) == (0, True), dry.stderr
    assert resdeg("sweep", "--depths", "8", "--data-dir", "nowhere").returncode == 4
    assert asked == ["cifar10"], "neither a dry run nor a given place asks anyone"


def test_the_data_sets_complete() -> None:
    assert options.complete_data("cifar") == ["cifar10", "cifar100"]
    assert SMALL.name == "cifar10"
