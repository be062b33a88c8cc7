"""The primitives: replaced whole, appended last, locked once."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from resdeg import files
from resdeg.errors import BusyError, StorageError


def test_write_replaces_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write(path, b"one")
    files.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_failed_write_keeps_the_old_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write(path, b"one")

    def full(handle: int, content: bytes) -> None:
        os.write(handle, content[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_os_write", full)
    with pytest.raises(StorageError, match=r"a\.json: the disk is full"):
        files.write(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.json"]


def test_files_get_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_no_planted_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(StorageError):
        files.append(tmp_path / "log", b"x")
    with pytest.raises(StorageError):
        files.truncate(tmp_path / "log", 0)
    assert victim.read_bytes() == b"precious"


def test_append_truncate_move_remove(tmp_path: Path) -> None:
    path = tmp_path / "log"
    files.append(path, b"one\n")
    files.append(path, b"two\n")
    files.truncate(path, 4)
    assert files.read(path) == b"one\n"
    files.move(path, tmp_path / "moved")
    assert files.read(path) is None
    files.remove(tmp_path / "moved")
    files.remove(tmp_path / "moved")
    assert not any(tmp_path.iterdir())


def test_a_lock_has_one_owner_who_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not files.is_locked(lock)
    with files.locked(lock):
        assert files.is_locked(lock)
        with pytest.raises(BusyError, match=f"held by pid {os.getpid()} on "), files.locked(lock):
            pass
    assert not files.is_locked(lock)
    with files.locked(lock):
        pass


def test_a_folder_that_cannot_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        files.make_folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError):
        files.make_folder(tmp_path / "file")


def test_temporaries_of_the_dead_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.json.tmp-1-ab").write_bytes(b"")
    (tmp_path / "kept").write_bytes(b"")
    files.remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]


def test_what_a_dead_writer_left_is_in_nobody_s_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every temporary has a name of its own."""

    def dies(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "_os_replace", dies)
        patch.setattr(files.os, "unlink", lambda path: None)
        with pytest.raises(KeyboardInterrupt):
            files.write(tmp_path / "a.json", b"one")
    assert len(list(tmp_path.glob(".a.json.tmp-*"))) == 1
    files.write(tmp_path / "a.json", b"two")
    assert (tmp_path / "a.json").read_bytes() == b"two"
