"""Sweeps of images that are not the genuine ones: the curve, the hash in every record, and the title."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

import resdeg
from resdeg.config import DataConfig, FolderConfig
from resdeg.data import describe_folder, load
from resdeg.records import Progress
from resdeg.store import SweepStore
from resdeg.sweep.conduct import NothingToTrain
from tests.data.drawn import draw_folder
from tests.data.test_folder import change_a_pixel

SMALL = {"model.width": 0.25, "training.batch_size": 16, "training.flip": False}
SETTINGS = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}".lower())]
GRID = ["--depths", "2,8", "--seeds", "0", "--steps", "24", "--jobs", "2"]


def hashes_in(folder: Path) -> set[str]:
    """Returns the data hash of every summary and of every segment of the runs in a sweep."""
    hashes = set()
    paths = [*folder.glob("runs/*/summary.json"), *folder.glob("runs/*/environment.json")]
    assert paths
    for path in paths:
        record = json.loads(path.read_text())
        parts = record["segments"] if path.name == "environment.json" else [record]
        hashes |= {part["data_hash"] for part in parts}
    return hashes


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("metrics.jsonl"))}


@pytest.mark.slow
def test_a_folder_of_images_is_swept_to_its_curve_and_goes_on_anywhere(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    command = request.getfixturevalue("resdeg")  # whose name the package has here
    pics = draw_folder(tmp_path / "pics", side=9)
    out = tmp_path / "out"
    done = command("sweep", "--data", "folder:pics", *GRID, *SETTINGS, "--out", "out")
    assert done.returncode == 0, done.stderr
    image_hash = describe_folder(pics)["hash"]
    assert f"data    folder pics (pics), hash {image_hash[:12]}" in done.stderr
    assert done.stdout.startswith("Test accuracy on images of pics, recipe short, 24 steps")
    assert (out / "curve.png").stat().st_size > 10_000
    assert hashes_in(out) == {image_hash}
    trained = resdeg.load(out)
    assert trained.config.data.folder == FolderConfig(**describe_folder(pics))
    assert list(trained.runs["status"]) == ["finished"] * 4
    accuracy = trained.curve.set_index(["metric", "family", "depth"])["mean"]
    assert accuracy["test_accuracy", "residual", 8] > 0.6, "bright and dark are easy; a guess is 1 in 3"
    # The plan goes on without the folder, from the cache, whatever RESDEG_DATA_DIR says of CIFAR.
    moved = pics.rename(tmp_path / "moved")
    request.getfixturevalue("monkeypatch").setenv("RESDEG_DATA_DIR", "/nowhere")
    finished = files_of(out)
    for seeds, more in (("0-1", ["out/sweep.toml"]), ("0-2", ["out", "--data-dir", "moved"])):
        done = command("sweep", *more, "--seeds", seeds)
        assert done.returncode == 0, done.stderr
    assert finished.items() <= files_of(out).items(), "no finished network is trained twice"
    assert len(resdeg.load(out).runs) == 12
    assert hashes_in(out) == {image_hash}
    for arguments, words in (
        (["diagnose", "out", "--kinds", "lesions"], ["residual-8"]),
        (["diagnose", "out", "--kinds", "lesions", "--again", "--data-dir", "moved"], ["residual-8"]),
        (["status", "out"], ["9 finished"]),
        (["list", "."], ["folder pics short, 24 steps"]),
        (["report", "out"], ["report.html"]),
        (["plot", "out", "--out", "curve.svg"], ["curve.svg"]),
        (["config", "show", "out/sweep.toml"], [image_hash]),
    ):
        done = command(*arguments)
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in words), done.stdout
    assert "Plain and residual networks on images of pics." in (out / "report.md").read_text()
    assert "Accuracy against depth on images of pics" in (tmp_path / "curve.svg").read_text()
    model = resdeg.load_model(next(out.glob("runs/residual-d8-s0-*")))
    assert model.head.out_features == 3
    # Changed images are refused, by both hashes, however they are named.
    change_a_pixel(moved / "train" / "ant" / "0.png")
    changed_hash = describe_folder(moved)["hash"]
    for arguments, code in (
        (["sweep", "out", "--seeds", "0-3", "--data-dir", "moved"], 4),
        (["sweep", "--data", "folder:moved", *GRID, *SETTINGS, "--out", "out"], 2),
    ):
        done = command(*arguments)
        assert done.returncode == code, done.stderr
        assert image_hash in done.stderr
        assert changed_hash in done.stderr
    assert command("diagnose", "out", "--again", "--data-dir", "moved").returncode == 4


@pytest.mark.slow
def test_label_noise_and_a_subset_have_a_title_and_a_hash_of_their_own(
    request: pytest.FixtureRequest, tiny_toml: Path, tmp_path: Path
) -> None:
    command = request.getfixturevalue("resdeg")
    grid = ["--depths", "2,8", "--seeds", "0-1", "--steps", "6"]
    altered = ["--set", "data.label_noise=0.2", "--set", "data.subset=200"]
    done = command("sweep", tiny_toml, *grid, *altered, "--out", "noisy")
    assert done.returncode == 0, done.stderr
    assert "data    hierarchy, subset 200, label noise 0.2 (built in), hash" in done.stderr
    title = "200 generated training images (hierarchy) with 20 % of training labels changed"
    assert " ".join(done.stdout.split()).startswith(f"Test accuracy on {title}")
    assert (tmp_path / "noisy" / "curve.png").stat().st_size > 10_000
    sweep = resdeg.load(tmp_path / "noisy")
    dataset, clean = load(sweep.config.data), load(sweep.config.data.model_copy(update={"label_noise": 0.0}))
    assert hashes_in(tmp_path / "noisy") == {dataset.hash}, "every seed has the same labels"
    assert dataset.hash != clean.hash
    assert (dataset.train.labels != clean.train.labels).sum() == 40
    assert command("report", "noisy").returncode == 0
    assert f"networks on {title}." in (tmp_path / "noisy" / "report.md").read_text()
    # The clean sweep is another one: the folder refuses it, and its runs have other names.
    done = command("sweep", tiny_toml, *grid, "--out", "noisy")
    assert done.returncode == 2
    assert "data.label_noise is 0.2 there and 0.0 here" in done.stderr
    assert "data.subset is 200 there and none here" in done.stderr
    done = command("sweep", tiny_toml, *grid, *altered, "--dry-run")
    assert "results/local/tiny-subset-200-label-noise-0.2" in done.stderr
    done = command("sweep", tiny_toml, *grid, *altered, "--out", "noisy")
    assert "nothing to train" in done.stderr


@pytest.mark.slow
def test_from_python_it_is_stopped_and_goes_on(tmp_path: Path) -> None:
    pics = draw_folder(tmp_path / "pics")
    options = {
        "data": f"folder:{pics}", "depths": [2, 8], "families": "residual", "seeds": [0], "jobs": 1,
        "steps": 24, "settings": {**SMALL, "data.subset": 30}, "out": tmp_path / "out",
    }  # fmt: skip

    def stop(event: object) -> None:
        if isinstance(event, Progress):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        resdeg.sweep(**options, progress=stop)
    store = SweepStore(tmp_path / "out")
    assert store.is_sweep()
    assert len(files_of(store.folder)) < 2 or not all(files_of(store.folder).values())
    sweep = resdeg.sweep(**options)
    assert list(sweep.runs["status"]) == ["finished"] * 2
    table = FolderConfig(**describe_folder(pics))
    expected = load(DataConfig(name="folder", folder=table, subset=30)).hash
    assert hashes_in(store.folder) == {expected}
    events: list[object] = []
    resdeg.sweep(**options, progress=events.append)
    assert isinstance(events[0], NothingToTrain)


def test_the_default_folder_is_named_by_the_images(resdeg, tmp_path: Path) -> None:
    draw_folder(tmp_path / "my $pics")
    done = resdeg("sweep", "--data", "folder:my $pics", "--depths", "8", "--seeds", "0", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "results/local/folder-my-pics-short" in done.stderr
    (tmp_path / "plan.toml").write_text('[data]\nname = "folder:my $pics"\n[training]\nlr = 0.05\n')
    done = resdeg("sweep", "plan.toml", "--depths", "8", "--seeds", "0", "--dry-run")
    assert "in results/local/plan" in done.stderr
    done = resdeg("config", "show", "--data", "folder:my $pics", "--origin")
    assert done.returncode == 0, done.stderr
    assert 'name = "my $pics"  # option' in done.stdout
    done = resdeg("sweep", "--data", "folder:nothing")
    assert (done.returncode, "nothing: is not there" in done.stderr) == (4, True)
    for name in ("folder", "folder:my $pics"):
        done = resdeg("data", "verify", "--data", name)
        assert done.returncode == 2
        assert "is a folder of your own images: there is nothing to get\n" in done.stderr
    assert "a folder of your own images" in resdeg("doctor").stdout
