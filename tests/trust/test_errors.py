"""The disk refuses, at every operation: a plain error, nothing that was there is lost, and it goes on."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.store import RunStore
from tests.trust import faults, scripted

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tiny_run) -> RunConfig:
    return tiny_run()


@pytest.fixture
def straight(tmp_path: Path, config: RunConfig) -> tuple[RunStore, list[str]]:
    store = RunStore(tmp_path / "straight" / config.run_id)
    folders = set[int]()

    def note_folders(number: int, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
            folders.add(number)
        return original(*arguments)

    with faults.Operations(note_folders) as operations:
        scripted.train(store, config)
    names = enumerate(operations.log, start=1)
    return store, ["fsync of a folder" if number in folders else name for number, name in names]


@pytest.mark.parametrize("lasting", [True, False], ids=["for good", "once"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_an_error_at_every_operation(
    straight: tuple[RunStore, list[str]],
    config: RunConfig,
    tmp_path: Path,
    number: int,
    lasting: bool,
    notices: list[str],
) -> None:
    reference, unharmed = straight
    for at in range(1, len(unharmed) + 1):
        store = RunStore(tmp_path / f"{at}" / config.run_id)
        shown: list[int] = []
        refusing = faults.Operations(faults.fail(number, at, lasting))
        # The first is the note of who held the lock, which is released all the same. Without the second a
        # power loss may cost a record, which is said.
        harmless = ["unlink"]
        if number in (errno.EIO, errno.EACCES) and (not lasting or unharmed[at:] == ["unlink"]):
            harmless.append("fsync of a folder")
        if unharmed[at - 1] in harmless:
            with refusing:
                scripted.train(store, config, shown.append)
            assert scripted.signature(store) == scripted.signature(reference)
            if unharmed[at - 1] != "unlink":
                assert len(notices) == 1, "it is said once"
            continue
        with refusing as operations, pytest.raises(StorageError) as told:
            scripted.train(store, config, shown.append)
        where = f"operation {at} ({unharmed[at - 1]})"
        assert told.value.exit_code == 5
        assert str(tmp_path / f"{at}") in told.value.what, where
        assert told.value.remedy
        if unharmed[at - 1] == "fsync":  # what the kernel could not write once is not asked for again
            assert operations.log[at : at + 1] != ["fsync"], where
        found = store.checkpoint()
        assert (found[0].recorded if found else 0) >= max(shown, default=0), where
        scripted.train(store, config)
        assert scripted.signature(store) == scripted.signature(reference), where
        assert not list(store.folder.rglob("*.tmp-*")), where


def test_short_writes_are_gone_on_with(
    straight: tuple[RunStore, list[str]], config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr("resdeg.files.os.write", lambda handle, content: whole(handle, content[:7]))
    store = RunStore(tmp_path / "short" / config.run_id)
    scripted.train(store, config)
    assert scripted.signature(store) == scripted.signature(straight[0])
