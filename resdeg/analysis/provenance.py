"""What the runs of a sweep were computed with, and whether they were computed alike."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

from resdeg.errors import StorageError
from resdeg.records import MAKES_BITS
from resdeg.store import RunStore

# By name of a thing: each of its values, and how many runs have it.
Provenance = Mapping[str, Mapping[str, int]]


def provenance(runs: Iterable[RunStore]) -> Provenance:
    """The data, versions, processor, device and threads of `runs`; what is not recorded is not in it."""
    found: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in ("data_hash", *MAKES_BITS)}
    for store in runs:
        with contextlib.suppress(StorageError):  # what cannot be read is said by whoever reads the run
            for segment in store.environment().segments:
                for name, values in found.items():
                    if (value := getattr(segment, name)) != "":
                        values[str(value)[:40]].add(store.folder.name)
    return {n: {value: len(ids) for value, ids in sorted(values.items())} for n, values in found.items()}


def differences(found: Provenance) -> list[str]:
    """A line for each thing that runs differ in though their settings are the same.

    A curve over such runs is still a curve, but a difference between two of them may come from there.
    """
    return [
        f"the runs differ in {name}: "
        + ", ".join(f"{value} ({count} run{'s' * (count > 1)})" for value, count in values.items())
        for name, values in found.items()
        if len(values) > 1
    ]
