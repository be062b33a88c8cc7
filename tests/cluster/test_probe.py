"""What nodes see of a folder, and which locks follow from it. It needs no Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import resdeg
from resdeg.errors import UsageError
from resdeg.sweep.cluster.probe import Probe, Sight, check_versions, look, needs_lease

SEEN = Sight("a", resdeg.__version__, shares=True, flock=True, lease=True)


def test_a_node_that_sees_the_folder_answers_in_it(tmp_path: Path) -> None:
    probe = Probe(tmp_path)
    sight = look(str(probe.path), probe.content, "node")
    assert replace(probe.hear(sight, "node"), host="a") == SEEN
    assert not probe.hear(sight, "another").shares, "its answer did not arrive"
    probe.remove()
    assert not list(tmp_path.iterdir())


def test_a_node_that_sees_another_folder_does_not_share_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    probe = Probe(here)
    assert not look(str(there / probe.path.name), probe.content, "node").shares
    (there / probe.path.name).write_text("of an older copy")
    assert not look(str(there / probe.path.name), probe.content, "node").shares
    probe.remove()


def test_a_lock_that_the_node_does_not_meet_is_seen(tmp_path: Path) -> None:
    """The probe's locks are let go, as if they were held on another host that does not share them."""
    probe = Probe(tmp_path)
    probe._locks.close()
    sight = look(str(probe.path), probe.content, "node")
    assert (sight.shares, sight.flock, sight.lease) == (True, False, False)
    probe.remove()


def test_what_a_killed_driver_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".probe-0123").touch()
    Probe(tmp_path).remove()
    assert not list(tmp_path.iterdir())


def test_a_lease_is_needed_where_flock_is_of_one_host(tmp_path: Path) -> None:
    local = replace(SEEN, host="b", flock=False)
    assert not needs_lease(tmp_path, [SEEN, SEEN])
    assert needs_lease(tmp_path, [SEEN, local])
    with pytest.raises(UsageError, match="no lock of this machine is seen on b") as refused:
        needs_lease(tmp_path, [SEEN, replace(local, lease=False)])
    assert "--ray-stream" in refused.value.remedy


def test_another_version_is_refused_by_the_name_of_its_node() -> None:
    with pytest.raises(UsageError, match=r"node c has resdeg 0\.0\.1"):
        check_versions([SEEN, replace(SEEN, host="c", version="0.0.1")])
