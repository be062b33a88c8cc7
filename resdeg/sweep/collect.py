"""Puts the runs of several folders of one sweep together in one folder, each whole and verified."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resdeg import files, locks
from resdeg.analysis.reader import collect_provenance, describe_differences, list_runs
from resdeg.config import RunConfig, SweepConfig
from resdeg.errors import BusyError, StorageError, UsageError
from resdeg.records import ENDED
from resdeg.store import (
    RunCopy,
    RunState,
    RunStore,
    SweepStore,
    check_run,
    copy_files,
    find_difference,
    list_files,
)
from resdeg.sweep.destination import compare_plans, spell_differences
from resdeg.sweep.plan import Plan

_STAGING = "collecting"  # where a run is copied to and verified before it gets its name in runs/


@dataclass(frozen=True)
class Collected:
    """What a folder holds after runs were put together in it.

    Args:
        states: how far each planned run is now, by run id.
        copied: the sweep that each run was copied from, by run id.
        present: the runs that were there before and stay.
        set_aside: where the copy of a run is now that was shorter, or damaged.
        problems: a line for each thing that was left out.
        damaged: the runs that no folder has a whole copy of.
        mixed: a line for each property in which the runs differ though their settings are the same.
    """

    folder: Path
    states: Mapping[str, RunState]
    copied: Mapping[str, Path]
    present: Sequence[str]
    set_aside: Sequence[Path]
    problems: Sequence[str]
    damaged: Sequence[str]
    mixed: Sequence[str]

    @property
    def ended(self) -> int:
        """How many of the planned runs have finished or diverged."""
        return sum(state in ENDED for state in self.states.values())


@dataclass(frozen=True)
class _Listing:
    """The folder of a sweep and what `list_runs` says of it."""

    store: SweepStore
    config: SweepConfig
    runs: list[RunConfig]
    problems: list[str]


@dataclass
class _Contents:
    """The copies of each run in the order of the folders, what was left out, and the runs that it was."""

    copies: dict[str, list[RunCopy]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)


def collect_runs(
    sources: Sequence[Path],
    folder: Path,
    *,
    waiting: Callable[[str], None] | None = None,
    progress: Callable[[int, int], object] = lambda done, count: None,
) -> Collected:
    """Copies every run of the sweeps in `sources` to `folder`, which becomes a sweep of the same plan.

    Nothing is copied unless all plans are equal and all copies of a run agree, clocks aside. The copy that is
    furthest ahead is taken. Each is verified before it gets its name, so whatever stops this leaves whole
    runs, and the same call goes on. No file is overwritten: a copy that is less far is set aside.

    Args:
        waiting: is called with who owns a folder, which is then waited for; None: BusyError is raised.
        progress: is called with how many runs have been copied, and how many are to be.

    Raises:
        UsageError: a folder holds no sweep, or two hold different plans.
        StorageError: two copies of a run differ, or the disk refuses.
        BusyError: a process trains in one of the folders.
    """
    target = SweepStore(folder)
    stores = [SweepStore(source) for source in _drop_repeated(sources, folder)]
    if not stores:
        raise UsageError(f"there is nothing to collect besides {folder} itself", "give folders of shards")
    with contextlib.ExitStack() as held:
        exists = os.path.isfile(target.plan)  # noqa: PTH113 (Path.is_file raises where a path is too long)
        # All who wait lock in one order, because two who collect from each other would wait for ever.
        for store in sorted([*stores, *[target] * exists], key=lambda store: os.path.realpath(store.folder)):
            held.enter_context(target.owned(waiting) if store is target else _hold(store, waiting))
        if not exists and target.has_records():
            raise UsageError(f"{folder} holds runs and no plan (sweep.toml)", "give another --out")
        listings = [_Listing(store, *list_runs(store)) for store in ([target] if exists else []) + stores]
        config = _check_plans(listings)
        contents, before = _Contents(), _Contents()
        for listing in listings:
            if listing.store is target:
                _read_copies(listing, before, verify=True)
            else:
                _read_copies(listing, contents, verify=False)
        chosen = _choose(contents.copies, before.copies)
        if not exists:
            held.enter_context(target.owned(waiting))
            if target.has_records() or target.plan.exists():
                raise BusyError(f"another process began a sweep in {folder} just now", "run this again")
            files.write(target.plan, files.read(stores[0].plan) or b"")
        copied, aside = _copy(chosen, target, contents, progress)
        if target.share_note.exists():
            files.remove(target.share_note)  # the folder is that of all shards now
        states = Plan.load(config, target).states
        runs = [target.run(run_id) for run_id in {*copied, *before.copies}]
        return Collected(
            folder=folder,
            states=states,
            copied=copied,
            present=[run_id for run_id in before.copies if run_id not in copied],
            set_aside=aside,
            problems=contents.problems + before.problems,
            damaged=sorted((contents.damaged | before.damaged) - {*copied, *before.copies}),
            mixed=describe_differences(collect_provenance(runs)),
        )


def _drop_repeated(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Returns each source once, without `folder` itself, whose runs are there already."""
    distinct = {os.path.realpath(source): source for source in reversed(sources)}
    distinct.pop(os.path.realpath(folder), None)
    return [*reversed(distinct.values())]


@contextlib.contextmanager
def _hold(store: SweepStore, waiting: Callable[[str], None] | None) -> Iterator[None]:
    """Keeps others from training in the folder meanwhile; nobody can in one that is read-only."""
    lock = store.folder / "lock"
    writable = os.access(lock if lock.exists() else store.folder, os.W_OK) and os.access(
        store.folder, os.W_OK
    )
    if not os.path.isfile(store.plan) or not writable:  # noqa: PTH113 (as above)
        yield
        return
    try:
        with locks.locked(lock, waiting):
            yield
    except BusyError as error:
        raise BusyError(
            error.what, "wait for it (--wait), or leave it out and collect again later"
        ) from error


def _check_plans(listings: Sequence[_Listing]) -> SweepConfig:
    """Returns the plan that all folders share.

    Raises:
        UsageError: two plans differ; the message names each setting.
    """
    first, *others = listings
    for other in others:
        if differences := compare_plans(first.config, other.config):
            before, after = first.store.folder, other.store.folder
            raise UsageError(
                f"{before} and {after} hold different plans: "
                + spell_differences(differences, f"in {before}", f"in {after}"),
                "only folders of one plan can be put together: collect the others elsewhere",
            )
    return first.config


def _read_copies(listing: _Listing, contents: _Contents, *, verify: bool) -> None:
    """Adds what a folder holds to `contents`.

    Args:
        verify: every hash is compared here, because these runs are not copied; a copy is verified later.

    Raises:
        BusyError: a worker that has lost its sweep still trains one of the runs.
    """
    store = listing.store
    contents.problems += listing.problems
    known = {run.run_id for run in listing.runs}
    planned = {run.run_id for run in listing.config.runs()}
    for name in store.names():
        run = store.run(name)
        if name not in known:
            if name in planned:
                contents.damaged.add(name)  # `problems` says why
            with contextlib.suppress(StorageError):  # `problems` names what is no run
                run.config()
                contents.problems.append(f"{run.folder}: its settings are not those of this sweep")
            continue
        try:
            if run.folder.is_symlink():
                raise StorageError(f"{run.folder}: is a link, which is not followed")
            if not run.has_begun():
                continue
            if run.is_running():
                raise BusyError(f"{run.folder} is busy: a worker trains it", "wait until it has left")
            copy = RunCopy.read(run)
            if verify:
                check_run(run)
        except StorageError as error:
            contents.problems.append(error.what)
            contents.damaged.add(name)
        else:
            contents.copies.setdefault(name, []).append(copy)


def _choose(
    copies: Mapping[str, list[RunCopy]], before: Mapping[str, list[RunCopy]]
) -> dict[str, list[RunCopy]]:
    """Returns the copies of each run that is to be copied, the best first.

    Args:
        before: those in the folder that all are copied to, of which each stays unless another is ahead of it.

    Raises:
        StorageError: copies of a run differ; the message names them, the file and the line.
    """
    chosen: dict[str, list[RunCopy]] = {}
    differing: list[str] = []
    for run_id, sources in copies.items():
        every = [*before.get(run_id, ()), *sources]
        if len(every) == 1:
            chosen[run_id] = every
            continue
        furthest = max(every, key=lambda copy: copy.progress)
        for other in every:
            if difference := find_difference(furthest, other):
                differing.append(_describe(furthest, other, difference))
                break
        ahead = [copy for copy in sources if run_id not in before or copy.progress > every[0].progress]
        if ahead:
            chosen[run_id] = sorted(ahead, key=lambda copy: (copy.progress, copy.extras), reverse=True)
    if differing:
        more = f"; and so do {len(differing) - 1} more runs" if len(differing) > 1 else ""
        raise StorageError(
            differing[0] + more,
            "nothing was collected; leave one of the two out (other versions and processors give other bits)",
        )
    return chosen


def _describe(copy: RunCopy, other: RunCopy, difference: str) -> str:
    """Says in what two copies of a run differ, and which of them is damaged if that can be seen."""
    damage = ""
    for each in (copy, other):
        try:
            check_run(each.store)
        except StorageError as error:
            damage = f" ({error.what})"
    first, second = sorted((copy.store.folder, other.store.folder))
    return f"{first} and {second} differ in {difference}{damage}"


def _copy(
    chosen: Mapping[str, list[RunCopy]],
    target: SweepStore,
    contents: _Contents,
    progress: Callable[[int, int], object],
) -> tuple[dict[str, Path], list[Path]]:
    """Copies the first whole copy of each run; returns where each came from, and what was set aside."""
    staging = target.folder / _STAGING
    files.remove_folder(staging)  # what a killed process left
    copied: dict[str, Path] = {}
    aside: list[Path] = []
    for done, (run_id, copies) in enumerate(chosen.items()):
        progress(done, len(chosen))
        staged = RunStore(staging / run_id)
        for copy in copies:
            problem = _stage(copy.store, staged)
            if problem is None:
                if os.path.lexists(target.run(run_id).folder):
                    aside.append(target.set_aside(run_id))
                files.move(staged.folder, target.run(run_id).folder)
                copied[run_id] = copy.store.folder.parents[1]
                break
            contents.problems.append(problem)
            contents.damaged.add(run_id)
            files.remove_folder(staged.folder)
    files.remove_folder(staging)
    return copied, aside


def _stage(run: RunStore, staged: RunStore) -> str | None:
    """Copies a run and verifies the copy; returns what is wrong with it, and None if it is whole."""
    try:
        names = list_files(run)
    except StorageError as error:
        return error.what
    copy_files(run, names, staged)
    try:
        check_run(staged)
    except StorageError as error:
        return error.what.replace(str(staged.folder), str(run.folder))
    return None
