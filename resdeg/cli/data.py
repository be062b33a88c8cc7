"""`resdeg data`: fetch CIFAR, import it from a file, verify it, and show its path."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.config import is_true
from resdeg.errors import DataError, UsageError
from resdeg.report.units import size

if TYPE_CHECKING:
    from resdeg.data.cifar import Distribution
    from resdeg.data.images import Dataset

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_BEAT = 10.0  # seconds between two lines if there is no terminal

Name = Annotated[
    str, typer.Option("--data", help="cifar10 or cifar100.", autocompletion=options.complete_data)
]


@data.command()
def fetch(
    name: Name = "cifar10",
    mirror: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Ask this place first; its file must be the official archive."),
    ] = None,
    offline: options.Offline = False,
    as_json: options.AsJson = False,
) -> None:
    """Download a data set into the cache; repeated, it resumes, and does nothing once the set is there."""
    from resdeg.data import cifar

    distribution = find_distribution(name)
    try:
        dataset = cifar.load(None, distribution)
    except DataError:
        forbidden = offline or is_true(os.environ.get("RESDEG_OFFLINE", ""))
        dataset = download(distribution, forbidden, tuple(mirror or ()))
    _print_facts(dataset, cifar.find(None, distribution).path, distribution, as_json)


@data.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="An official archive or folder, Hugging Face parquet, Keras .npz, or PNGs by class."
        ),
    ],
    name: Name = "cifar10",
    as_json: options.AsJson = False,
) -> None:
    """Verify an archive, folder or copy, and make it the data set that every sweep finds."""
    from resdeg.data import cifar

    distribution = find_distribution(name)
    dataset = cifar.keep(file, distribution, say=screen.say)
    _print_facts(dataset, cifar.find(None, distribution).path, distribution, as_json)


@data.command()
def verify(name: Name = "cifar10", data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Read every file again, past the cache, and compare the data hash with the genuine one."""
    from resdeg.data import cifar

    distribution = find_distribution(name)
    location = cifar.find(options.resolve_data_dir(data_dir), distribution)
    _print_facts(cifar.read(location, distribution), location.path, distribution, as_json)


@data.command()
def path(name: Name = "cifar10", data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Print where a data set would be read from; exit 4 where there is none."""
    from resdeg.data import cifar

    location = cifar.find(options.resolve_data_dir(data_dir), find_distribution(name))
    layout = location.layout.kind if location.layout else "cache"
    emit(json.dumps({"path": str(location.path), "layout": layout}) if as_json else str(location.path))


def find_distribution(name: str) -> Distribution:
    """Finds what is distributed under this name.

    Raises:
        UsageError: the name is not known, or the data set is built in.
    """
    from resdeg.data import source

    known = source(name.partition(":")[0])  # `folder:DIR` is known as `folder`
    if known.files is None:
        raise UsageError(
            f"{name} is {known.about}: there is nothing to get", f"use it with --data {known.option}"
        )
    return known.files


def download(distribution: Distribution, offline: bool, mirrors: tuple[str, ...] = ()) -> Dataset:
    """Downloads the data set from its sources, with progress on stderr.

    Raises:
        DataError: downloads are off, or no source gave it.
    """
    from resdeg.data import cifar

    if offline:
        raise DataError(
            f"{distribution.title} is not there, and downloads are off (--offline or RESDEG_OFFLINE)",
            "give --data-dir, or `resdeg data import FILE`, or --data hierarchy, which needs no file",
        )
    with _ByteProgress() as progress:
        dataset = cifar.get(distribution, mirrors, say=screen.say, progress=progress)
    images = f"{len(dataset.train):,} + {len(dataset.test):,} images"
    screen.say(f"{distribution.title} is there: {images}, verified")
    return dataset


def _print_facts(dataset: Dataset, path: Path, distribution: Distribution, as_json: bool) -> None:
    facts = {
        "data": distribution.name,
        "path": str(path),
        "train": len(dataset.train),
        "test": len(dataset.test),
        "classes": dataset.classes,
        "hash": dataset.hash,
        "genuine": None if distribution.content is None else dataset.hash == distribution.content,
    }
    if as_json:
        emit_json(facts)
        return
    genuine = "verified" if facts["genuine"] else "no published data hash to compare with"
    images = f"{len(dataset.train):,} training and {len(dataset.test):,} test images"
    emit(f"{distribution.title}: {images}, {distribution.classes} classes")
    emit(f"hash {dataset.hash} ({genuine})")
    emit(f"in {path}")


class _ByteProgress:
    """The bytes that came of all bytes: a bar on a terminal, or else a line every few seconds."""

    def __init__(self) -> None:
        self._beat = time.monotonic()

    def __enter__(self) -> _ByteProgress:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
            console=screen.rich, transient=True, disable=not screen.live,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)
        if not screen.live and time.monotonic() - self._beat >= _BEAT:
            self._beat = time.monotonic()
            screen.say(f"{size(done)} of {size(total)}")
