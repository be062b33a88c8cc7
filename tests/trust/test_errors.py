"""The disk refuses, at every operation: a plain error, nothing that was there is lost, and it goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

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
    with faults.Operations(faults.nothing) as operations:
        scripted.train(store, config)
    return store, operations.log


@pytest.mark.parametrize("lasting", [True, False], ids=["for good", "once"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_an_error_at_every_operation(
    straight: tuple[RunStore, list[str]], config: RunConfig, tmp_path: Path, number: int, lasting: bool
) -> None:
    reference, unharmed = straight
    for at in range(1, len(unharmed) + 1):
        store = RunStore(tmp_path / f"{at}" / config.run_id)
        shown: list[int] = []
        refusing = faults.Operations(faults.fail(number, at, lasting))
        if unharmed[at - 1] == "unlink":  # the note of who held the lock, which is released all the same
            with refusing:
                scripted.train(store, config, shown.append)
            assert scripted.signature(store) == scripted.signature(reference)
            continue
        with refusing as operations, pytest.raises(StorageError) as told:
            scripted.train(store, config, shown.append)
        place = f"operation {at} ({unharmed[at - 1]})"
        assert told.value.exit_code == 5
        assert str(tmp_path / f"{at}") in told.value.what, place
        assert told.value.remedy
        if unharmed[at - 1] == "fsync":  # what the kernel could not write once is not asked for again
            assert operations.log[at : at + 1] != ["fsync"], place
        found = store.checkpoint()
        assert (found[0].recorded if found else 0) >= max(shown, default=0), place
        scripted.train(store, config)
        assert scripted.signature(store) == scripted.signature(reference), place
        assert not list(store.folder.rglob("*.tmp-*")), place


def test_short_writes_are_gone_on_with(
    straight: tuple[RunStore, list[str]], config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr("resdeg.files.os.write", lambda handle, content: whole(handle, content[:7]))
    store = RunStore(tmp_path / "short" / config.run_id)
    scripted.train(store, config)
    assert scripted.signature(store) == scripted.signature(straight[0])
