"""The primitives: replaced whole, appended last, locked once."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from resdeg import files, locks
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
    assert not locks.is_locked(lock)
    with locks.locked(lock):
        assert locks.is_locked(lock)
        with pytest.raises(BusyError, match=f"held by pid {os.getpid()} on "), locks.locked(lock):
            pass
    assert not locks.is_locked(lock)
    with locks.locked(lock):
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


def refuse(monkeypatch: pytest.MonkeyPatch, operation: str, number: int, kind: str = "any") -> None:
    """Has an operation on every folder, every file or both fail with `number`."""
    module = locks if operation == "flock" else files
    original = getattr(module, f"_os_{operation}")

    def act(handle: int, *arguments: object) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        if kind == "any" or folder == (kind == "folder"):
            raise OSError(number, os.strerror(number))
        original(handle, *arguments)

    monkeypatch.setattr(module, f"_os_{operation}", act)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_folders_that_cannot_be_synced_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notices: list[str], number: int
) -> None:
    refuse(monkeypatch, "fsync", number, "folder")
    files.make_folder(tmp_path / "a" / "b")
    for name in ("one", "two"):
        files.write(tmp_path / name, b"x")
        files.append(tmp_path / "a" / name, b"x")
    files.move(tmp_path / "one", tmp_path / "three")
    assert (tmp_path / "three").read_bytes() == (tmp_path / "a" / "two").read_bytes() == b"x"
    assert len(notices) == 1
    assert f"cannot sync folders ({os.strerror(number)})" in notices[0]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_files_that_cannot_be_synced_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notices: list[str], number: int
) -> None:
    refuse(monkeypatch, "fsync", number, "file")
    files.write(tmp_path / "a", b"x")
    files.append(tmp_path / "a", b"y")
    files.truncate(tmp_path / "a", 1)
    assert (tmp_path / "a").read_bytes() == b"x"
    assert len(notices) == 1
    assert "cannot sync files" in notices[0]


def test_a_disk_that_loses_the_bytes_of_a_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notices: list[str]
) -> None:
    files.write(tmp_path / "a", b"one")
    refuse(monkeypatch, "fsync", errno.EIO, "file")
    with pytest.raises(StorageError, match="Input/output error"):
        files.write(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert notices == []


def test_a_full_disk_is_an_error_of_its_folders_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notices: list[str]
) -> None:
    refuse(monkeypatch, "fsync", errno.ENOSPC, "folder")
    with pytest.raises(StorageError, match="the disk is full"):
        files.write(tmp_path / "a", b"one")
    assert notices == []


def test_a_program_without_a_listener_is_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "fsync", errno.EINVAL, "folder")
    with pytest.warns(UserWarning, match="cannot sync folders"):
        files.write(tmp_path / "a", b"x")


@pytest.mark.parametrize(
    "number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO, errno.EPERM]
)
def test_a_file_system_without_locks_is_not_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(monkeypatch, "flock", number)
    waited = list[str]()
    for wait in (None, waited.append):
        with (
            pytest.raises(StorageError, match="locking does not work on this file system") as raised,
            locks.locked(tmp_path / "lock", wait),
        ):
            pass
        assert os.strerror(number) in raised.value.what
        assert str(tmp_path) in raised.value.what
        assert "another" in raised.value.remedy
    assert waited == []
    assert not locks.is_locked(tmp_path / "lock")


def test_readers_do_not_see_one_another_as_owners(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch(mode=0o444)
    with lock.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another reader holds it for an instant
        assert not locks.is_locked(lock)
        with pytest.raises(BusyError), locks.locked(lock):
            pass
