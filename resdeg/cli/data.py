"""`resdeg data`: get CIFAR, take it from a file, verify it, say where it is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, screen
from resdeg.config import is_true
from resdeg.errors import DataError, UsageError
from resdeg.report.units import size

if TYPE_CHECKING:
    from resdeg.data.cifar import Distribution
    from resdeg.data.images import Dataset

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_BEAT = 10.0  # seconds between two lines where there is no terminal

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
    """Download a data set into the cache; again resumes, and does nothing once it is there."""
    from resdeg.data import cifar

    of = distribution(name)
    try:
        found = cifar.load(None, of)
    except DataError:
        forbidden = offline or is_true(os.environ.get("RESDEG_OFFLINE", ""))
        found = download(of, forbidden, tuple(mirror or ()))
    _tell(found, cifar.find(None, of).path, of, as_json)


@data.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An official archive, or a folder unpacked from one.")],
    name: Name = "cifar10",
    as_json: options.AsJson = False,
) -> None:
    """Verify an archive or folder, and make it the data set that every sweep finds."""
    from resdeg.data import cifar

    of = distribution(name)
    found = cifar.keep(file, of)
    _tell(found, cifar.find(None, of).path, of, as_json)


@data.command()
def verify(name: Name = "cifar10", data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Read every file again, past the cache, and compare the data hash with the genuine one."""
    from resdeg.data import cifar

    of = distribution(name)
    place = cifar.find(options.given_data_dir(data_dir), of)
    _tell(cifar.read(place, of), place.path, of, as_json)


@data.command()
def path(name: Name = "cifar10", data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Print where a data set would be read from; exit 4 where there is none."""
    from resdeg.data import cifar

    found = cifar.find(options.given_data_dir(data_dir), distribution(name))
    layout = found.layout.kind if found.layout else "cache"
    emit(json.dumps({"path": str(found.path), "layout": layout}) if as_json else str(found.path))


def distribution(name: str) -> Distribution:
    """What is distributed under this name.

    Raises:
        UsageError: nothing is.
    """
    from resdeg.data import source

    of = source(name).files
    if of is None:
        raise UsageError(f"{name} is built in: there is nothing to get", f"use it with --data {name}")
    return of


def download(of: Distribution, offline: bool, mirrors: tuple[str, ...] = ()) -> Dataset:
    """Get the data set from its sources, with progress on stderr.

    Raises:
        DataError: offline, or no source gave it.
    """
    from resdeg.data import cifar

    if offline:
        raise DataError(
            f"{of.title} is not there, and downloads are off (--offline or RESDEG_OFFLINE)",
            "give --data-dir, or `resdeg data import FILE`, or --data hierarchy, which needs no file",
        )
    with _Bytes() as shown:
        found = cifar.get(of, mirrors, screen.say, shown)
    screen.say(f"{of.title} is there: {len(found.train):,} + {len(found.test):,} images, verified")
    return found


def _tell(found: Dataset, path: Path, of: Distribution, as_json: bool) -> None:
    facts = {
        "data": of.name,
        "path": str(path),
        "train": len(found.train),
        "test": len(found.test),
        "classes": found.classes,
        "hash": found.hash,
        "genuine": None if of.content is None else found.hash == of.content,
    }
    if as_json:
        emit(json.dumps(facts, indent=1))
        return
    genuine = "verified" if facts["genuine"] else "no published data hash to compare with"
    emit(
        f"{of.title}: {len(found.train):,} training and {len(found.test):,} test images, {of.classes} classes"
    )
    emit(f"hash {found.hash} ({genuine})")
    emit(f"in {path}")


class _Bytes:
    """Bytes there of bytes in all: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._beat = time.monotonic()

    def __enter__(self) -> _Bytes:
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
