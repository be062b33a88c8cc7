"""The options that several commands share, and their meaning in combination."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.config import ExecutionConfig, Settings, SweepConfig, number_or_text, validate
from resdeg.errors import UsageError

if TYPE_CHECKING:
    from resdeg.sweep.calibration import Facts

MEMORY_SHARE = 0.8  # the share of the available memory that workers may use
POINTER = Path("results") / "local" / "last-sweep"


def complete_data(incomplete: str) -> list[str]:
    """Completes names for the shell; tables are read only when it asks."""
    from resdeg.data import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    from resdeg.config.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def one_of(*names: str) -> Callable[[str], list[str]]:
    """Makes the completion of an option that has few values."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


DataOption = Annotated[
    str | None,
    typer.Option(
        "--data", help="Data set: cifar10, cifar100 or hierarchy (built in).", autocompletion=complete_data
    ),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the data set is: an official archive or folder.")
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe", help="short (default), he2015, he2015-warmup or demo.", autocompletion=complete_recipe
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Length in epochs; the schedule scales.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Length in steps; the schedule scales.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. training.lr=0.05.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", help="auto (fp32), fp32 or bf16.", autocompletion=one_of("auto", "fp32", "bf16")
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="auto, cpu, cuda or mps.", autocompletion=one_of("auto", "cpu", "cuda", "mps")
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never download (RESDEG_OFFLINE).")]
Jobs = Annotated[str | None, typer.Option("--jobs", help="Runs side by side: auto or a number.")]
TimeLimit = Annotated[
    str | None, typer.Option("--time-limit", help="Stop cleanly in time, e.g. 90s, 170m or 2h.")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of the sweep [results/local/<data>-<recipe>].")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait while another process owns the folder.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show runs, ids and costs; train nothing.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Set earlier runs of this grid aside (kept) and train anew.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Evaluation = Annotated[
    str | None,
    typer.Option(
        help="running or image statistics, for nets with instance norms [image, as trained].",
        autocompletion=one_of("running", "image"),
    ),
]
SweepArgument = Annotated[
    Path | None, typer.Argument(metavar="[SWEEP]", help="A sweep's folder; without one, the last that ran.")
]


def flags(
    data: str | None,
    data_dir: Path | None,
    recipe: str | None,
    epochs: int | None,
    steps: int | None,
    precision: str | None,
    device: str | None,
    jobs: str | None,
    offline: bool,
    **grid: str | None,
) -> Settings:
    """Puts the options of the command line into the tables of a configuration file."""
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps are two ways to give the length", "give only one of them")
    tables: dict[str, Settings] = {
        "data": {"name": data},
        "training": {"recipe": recipe, "epochs": epochs, "steps": steps, "precision": precision},
        "execution": {
            "data_dir": data_dir and str(data_dir),
            "device": device,
            "jobs": None if jobs is None else number_or_text(jobs),
            "offline": offline or None,
        },
    }
    given = {
        name: {key: value for key, value in table.items() if value is not None}
        for name, table in tables.items()
    }
    top = {key: value for key, value in grid.items() if value is not None}
    return top | {name: table for name, table in given.items() if table}


def parse_time(text: str) -> float:
    """Reads a time such as '90s', '170m' or '2h', in seconds.

    >>> parse_time("170m")
    10200.0

    Raises:
        UsageError: the text is no time, or zero.
    """
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)(s|m|h)", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"--time-limit {text}: not a time", "write e.g. 90s, 170m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def sweep_folder(given: Path | None) -> Path:
    """Returns the folder that a command reads: the given one, or else the one `resdeg sweep` last wrote.

    Raises:
        UsageError: none was given and no sweep has run here.
    """
    folder = last_sweep() if given is None else given
    if folder is None:
        raise UsageError(
            "no sweep has run here yet",
            "run `resdeg sweep` first, or give a sweep's folder, e.g. results/first-light",
        )
    return folder


def last_sweep() -> Path | None:
    """Returns the folder that `resdeg sweep` last wrote; None if none has run here, or it is gone."""
    try:
        last = Path(os.fsdecode(POINTER.read_bytes().removesuffix(b"\n")))
    except OSError:
        return None
    return last if last.is_dir() else None


def remember(folder: Path) -> None:
    """Makes `folder` the last sweep of the current folder."""
    from resdeg import files

    files.make_folder(POINTER.parent)
    files.write(POINTER, os.fsencode(f"{os.path.relpath(folder)}\n"))


def resolve_data_dir(option: Path | None) -> Path | None:
    """Returns the path that the user gave for the data set: the option, or else RESDEG_DATA_DIR."""
    variable = os.environ.get("RESDEG_DATA_DIR")
    return option or (Path(variable) if variable else None)


def cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    count = os.cpu_count()
    return 1 if count is None else count


def default_jobs(config: SweepConfig, facts: Facts, runs: int) -> int:
    """Chooses the runs side by side: as many as cores and memory allow on a CPU, else one group."""
    if config.execution.jobs != "auto":
        return config.execution.jobs
    if facts.device != "cpu":
        return config.execution.group
    return fitting_jobs(runs, cores() // config.training.threads, facts.worker_bytes)


def given_jobs(jobs: str | None) -> int | None:
    """Reads `--jobs`, or else RESDEG_JOBS, for a command without a configuration; None stands for auto.

    Raises:
        UsageError: the value is no number of workers.
    """
    text = jobs or os.environ.get("RESDEG_JOBS") or "auto"
    name = "command line" if jobs else "RESDEG_JOBS"
    amount = validate(ExecutionConfig, {name: {"jobs": number_or_text(text)}}).jobs
    return None if amount == "auto" else amount


def fitting_jobs(runs: int, cores: int, worker_bytes: int) -> int:
    """Counts the workers for `runs` runs that have a core each, and enough memory."""
    from resdeg.sweep.estimate import available_bytes

    available = available_bytes()
    fitting = runs if available is None else int(MEMORY_SHARE * available // worker_bytes)
    return max(1, min(cores, runs, fitting))
