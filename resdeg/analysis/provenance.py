"""Whether the runs of a sweep were computed alike."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable

from resdeg.errors import StorageError
from resdeg.records import MAKES_BITS
from resdeg.store import RunStore


def differences(runs: Iterable[RunStore]) -> list[str]:
    """A line for each thing that runs differ in though their settings are the same.

    A curve over such runs is still a curve, but a difference between two of them may come from there.
    """
    values: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in ("data_hash", *MAKES_BITS)}
    for store in runs:
        with contextlib.suppress(StorageError):  # what cannot be read is said by whoever reads the run
            for segment in store.environment().segments:
                for name, found in values.items():
                    if (value := getattr(segment, name)) != "":
                        found[str(value)[:40]].add(store.folder.name)
    return [
        f"the runs differ in {name}: "
        + ", ".join(f"{value} ({len(ids)} run{'s' * (len(ids) > 1)})" for value, ids in sorted(found.items()))
        for name, found in values.items()
        if len(found) > 1
    ]
