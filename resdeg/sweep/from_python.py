"""The road to a sweep from Python: `resdeg.sweep(depths=[8, 20], ...)`, in a script or a notebook."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resdeg.analysis.frame import SweepFrame
    from resdeg.sweep.conduct import Event, Over


def sweep(
    *,
    config: Path | str | None = None,
    depths: str | int | Iterable[int] | None = None,
    families: str | Iterable[str] | None = None,
    seeds: str | int | Iterable[int] | None = None,
    data: str | None = None,
    data_dir: Path | str | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    settings: Mapping[str, object] | None = None,
    precision: str | None = None,
    fast_math: bool = False,
    device: str | None = None,
    jobs: int | str | None = None,
    offline: bool = False,
    time_limit: float | str | None = None,
    out: Path | str | None = None,
    fresh: bool = False,
    shard: str | None = None,
    progress: Callable[[Event], object] | None = None,
) -> SweepFrame:
    """Trains plain and residual networks over depths and seeds, and returns what `resdeg.load` returns.

    It is `resdeg sweep` with the same names, defaults and environment variables, and writes the same records.
    The same call without `fresh` goes on where the last one ended, and trains no finished network twice.
    It prints nothing and draws nothing: `resdeg.figure` does.

    Ctrl-C, or the button that interrupts a notebook, has the workers save and leave, and then raises
    KeyboardInterrupt. A second one kills them, back to their last checkpoints. Any other signal that stops a
    program is likewise handed on when everything is saved. All this is so in the main thread, which is the
    only one that hears signals.

    Networks are trained in processes of their own, and torch is not imported in this one. They do not import
    the program that calls, so a script needs no `if __name__ == "__main__":` for this, and a notebook may
    have changed any name. They have the environment variables of the time of the first sweep in this process.

    Args:
        config: a configuration file, e.g. "my.toml"; or the folder of a sweep, or the sweep.toml
            in it, to go on there.
        depths, families, seeds: a sequence, or text as on the command line: "8,20", "plain", "0-2".
        settings: any others by their dotted names, e.g. {"training.lr": 0.05}; the arguments here win.
        jobs: runs side by side, or "auto".
        time_limit: seconds, or text such as "170m", after which everything is saved and stopped.
        out: the folder of the sweep; without it results/local/<data>-<recipe>, or another name there if the
            settings are not those of the recipe; see `resdeg.sweep.destination.default_folder`.
        fresh: sets earlier runs of this grid aside, which keeps them, and trains anew.
        shard: trains only this share of the plan, as in "3/8" for the third of eight; see `resdeg collect`.
        progress: is called with every event, see `resdeg.sweep.conduct.Event`. An exception in it ends the
            sweep, back to the last checkpoints.

    Raises:
        UsageError: an argument is wrong, the folder holds a sweep of other settings, or no run has a record
            yet when the time is over.
        DataError: the data set is missing or damaged.
        BusyError: another process trains in the folder; StorageError: the folder cannot be written.
        ResdegError: runs failed; the error names them, and the others are done.
    """
    import os
    import time

    from resdeg.analysis.frame import load_sweep
    from resdeg.config import arrange_options, merge, parse_time
    from resdeg.sweep.conduct import follow, run_sweep
    from resdeg.sweep.destination import resolve_sweep
    from resdeg.sweep.shards import parse_shard

    started = time.monotonic()
    share = None if shard is None else parse_shard(shard)
    limit = parse_time(time_limit) if isinstance(time_limit, str) else time_limit
    options = arrange_options(
        data=data, data_dir=data_dir, recipe=recipe, epochs=epochs, steps=steps, precision=precision,
        fast_math=fast_math, device=device, jobs=jobs, offline=offline,
        depths=_listed(depths), families=_listed(families), seeds=_listed(seeds),
    )  # fmt: skip
    given = merge(_nested({} if settings is None else settings), options)
    file = None if config is None else Path(config)
    resolved, folder = resolve_sweep(
        file,
        os.environ,
        [],
        given,
        out=None if out is None else Path(out),
        shard=share,
        origin="resdeg.sweep",
    )
    deadline = None if limit is None else started + limit
    events = run_sweep(resolved, folder, shard=share, fresh=fresh, deadline=deadline)
    over = follow(events, (lambda event: None) if progress is None else progress)
    _raise_what_ended(over, folder)
    return load_sweep(folder)


def _raise_what_ended(over: Over, folder: Path) -> None:
    """Raises the signal that stopped a sweep, or an error that names its failed runs; else returns."""
    import signal

    from resdeg.errors import ResdegError

    if over.signal is not None:
        signal.raise_signal(over.signal)  # the caller may have a handler; that of SIGINT raises by itself
        raise KeyboardInterrupt
    if over.failed:
        causes = (
            error.what if run_id in error.what else f"{run_id}: {error.what}"
            for run_id, error in over.failed.items()
        )
        raise ResdegError(
            f"{len(over.failed)} of {over.total} runs failed: {'; '.join(causes)}",
            f"see error.txt in the folders of {folder / 'runs'}; "
            "the same call without fresh tries them again",
        )


def _listed(values: object) -> object:
    """Makes a list of a sequence, a range for one; leaves text and a single number as they are."""
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str) else values


def _nested(settings: Mapping[str, object]) -> dict[str, Any]:
    """Nests dotted names.

    >>> _nested({"training.lr": 0.05, "training.momentum": 0.8})
    {'training': {'lr': 0.05, 'momentum': 0.8}}
    """
    from resdeg.config import merge

    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *tables, last = name.split(".")
        table: dict[str, Any] = {last: value}
        for key in reversed(tables):
            table = {key: table}
        tree = merge(tree, table)
    return tree


class CallablePackage(ModuleType):
    """Lets `resdeg.sweep(...)` be called, although `resdeg.sweep` is also the package of this module.

    Python binds a package's name in its parent when it first imports it, over whatever stood there. So a
    function called `resdeg.sweep` would turn into the package as soon as anything imports from it.
    """

    __signature__ = inspect.signature(sweep)

    def __call__(self, **options: Any) -> SweepFrame:
        return sweep(**options)
