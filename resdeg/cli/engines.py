"""The engine that trains the runs of a sweep: this machine's, or that of a Ray cluster."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli.options import one_of
from resdeg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from resdeg.sweep.engine import MakeEngine

Choose = Callable[..., "AbstractContextManager[MakeEngine | None]"]  # see `choose_engine`
ENGINES = ("local", "ray")

EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What trains: local, or ray for the machines of a Ray cluster.",
        autocompletion=one_of(*ENGINES),
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address", help="host:port, or auto for this machine's cluster [RAY_ADDRESS, or none]."
    ),
]
GpusPerRun = Annotated[
    float | None, typer.Option("--gpus-per-run", help="On Ray: the share of a GPU for each run [0: CPUs].")
]
RayStream = Annotated[
    bool,
    typer.Option("--ray-stream", help="On Ray: send records to this machine, even if all share the folder."),
]


@contextlib.contextmanager
def choose_engine(
    name: str = "local",
    *,
    device: str,
    dry_run: bool = False,
    address: str | None = None,
    gpus_per_run: float | None = None,
    stream: bool = False,
) -> Iterator[MakeEngine | None]:
    """Holds an engine ready within `with`; yields what makes it, None for that of this machine.

    Ray is imported only if it is asked for.

    Args:
        device: as the configuration has it.
        dry_run: only checks the options, and joins no cluster.

    Raises:
        UsageError: no engine has this name, an option is for another one, or Ray is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"engine '{name}' is not known", did_you_mean(name, ENGINES))
    if name == "local":
        given = {"--ray-address": address, "--gpus-per-run": gpus_per_run, "--ray-stream": stream or None}
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} is for a Ray cluster", "add --engine ray, or leave it out")
        yield None
        return
    share = 0.0 if gpus_per_run is None else gpus_per_run
    if not 0 <= share <= 1:
        raise UsageError(
            f"--gpus-per-run {share:g}: a run computes on one GPU, or a share of one", "e.g. 0.5"
        )
    if device != "auto" and (device == "cuda") != (share > 0):
        raise UsageError(
            f"--device {device} and --gpus-per-run {share:g} do not fit together",
            "leave out --device: runs with a GPU compute on it, others on CPUs",
        )
    if dry_run:
        yield None
        return
    if importlib.util.find_spec("ray") is None:
        raise UsageError("Ray is not installed", "pip install 'resdeg[ray]'")
    from resdeg.sweep.cluster.driver import join_cluster

    with join_cluster(address, gpus_per_run=share, stream=stream) as engine:
        yield engine
