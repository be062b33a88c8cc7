"""Streams do not meet."""

from __future__ import annotations

from resdeg.randomness import derive


def test_streams_are_distinct_and_pinned() -> None:
    names = [(s, p, e) for s in range(20) for p in ("order", "augment", "init/a") for e in range(20)]
    assert len({derive(*name) for name in names}) == len(names)
    assert derive(0, "order", 0) == 8510490443112915091
    assert all(0 <= derive(*name) < 2**63 for name in names)


def test_arguments_cannot_run_into_each_other() -> None:
    assert derive(1, "a", 23) != derive(12, "a", 3)
    assert derive(1, "a\x001", 0) != derive(1, "a", 1)
