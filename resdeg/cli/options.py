"""The options that several commands share, and their meaning in combination."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from resdeg.config import FOLDER, ExecutionConfig, number_or_text, validate
from resdeg.errors import UsageError

POINTER = Path("results") / "local" / "last-sweep"
LAST = "the last that a command trained, collected or adopted here"  # see `remember`


def complete_data(incomplete: str) -> list[str]:
    """Completes names for the shell; tables are read only when it asks."""
    from resdeg.data import DATASETS

    options = (source.option.removesuffix("DIR") for source in DATASETS.values())
    return [option for option in options if option.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    from resdeg.config.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def one_of(*names: str) -> Callable[[str], list[str]]:
    """Makes the completion of an option that has few values."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


Depths = Annotated[
    str | None, typer.Option("--depths", help="Depths 6n+2, e.g. 8,20,56 (default) or all of 8..56.")
]
Families = Annotated[str | None, typer.Option("--families", help="plain,residual (default) or one of them.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds, e.g. 0-2 (default) or 0,3.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="cifar10, cifar100, hierarchy (built in) or folder:DIR (images of your own).",
        autocompletion=complete_data,
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
FastMath = Annotated[
    bool,
    typer.Option("--fast-math", help="On CUDA: TF32 and cuDNN's fastest, whose bits do not repeat."),
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
    str | None,
    typer.Option("--time-limit", help="Stop cleanly in time, e.g. 90s, 170m or 1h30m; it ends no --wait."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the sweep [in results/local, named by its settings]."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait while another process owns the folder.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show runs, ids and costs; train nothing.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Set earlier runs of this grid aside (kept) and train anew.")
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Train only this share of the plan, e.g. 3/8 for the third of eight; see resdeg collect.",
    ),
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
    Path | None, typer.Argument(metavar="[SWEEP]", help=f"A sweep's folder; without one, {LAST}.")
]


def sweep_folder(given: Path | None) -> Path:
    """Returns the folder that a command reads: the given one, or else the remembered one.

    Raises:
        UsageError: none was given and none is remembered here, or its folder is gone.
    """
    if given is not None:
        return given
    last = _read_pointer()
    if last is None:
        raise UsageError(
            "no sweep has run here yet",
            "run `resdeg sweep` first, or give a sweep's folder; `resdeg list` names those in results",
        )
    if not last.is_dir():
        raise UsageError(
            f"the last sweep here was {last}, and it is not there any more ({POINTER} names it)",
            "give the folder where it is now",
        )
    return last


def last_sweep() -> Path | None:
    """Returns the folder that was last remembered here; None if there is none, or it is gone."""
    last = _read_pointer()
    return last if last is not None and last.is_dir() else None


def _read_pointer() -> Path | None:
    try:
        return Path(os.fsdecode(POINTER.read_bytes().removesuffix(b"\n")))
    except OSError:
        return None


def remember(folder: Path) -> None:
    """Makes `folder` the last sweep of the current folder, for commands that are given none."""
    from resdeg import files

    files.make_folder(POINTER.parent)
    files.write(POINTER, os.fsencode(f"{os.path.relpath(folder)}\n"))


def resolve_data_dir(option: Path | None, name: str = "cifar10") -> Path | None:
    """Returns the path that the user gave for a data set: the option, or else, for CIFAR, RESDEG_DATA_DIR."""
    variable = os.environ.get("RESDEG_DATA_DIR") if name != FOLDER else None
    return option or (Path(variable) if variable else None)


def given_device() -> str:
    """Reads RESDEG_DEVICE for a command without a configuration; 'auto' where it is not set.

    Raises:
        UsageError: the value is no name of a device.
    """
    name = os.environ.get("RESDEG_DEVICE") or "auto"
    return validate(ExecutionConfig, {"RESDEG_DEVICE": {"device": name}}).device


def given_jobs(jobs: str | None) -> int | None:
    """Reads `--jobs`, or else RESDEG_JOBS, for a command without a configuration; None stands for auto.

    Raises:
        UsageError: the value is no number of workers.
    """
    text = jobs or os.environ.get("RESDEG_JOBS") or "auto"
    name = "command line" if jobs else "RESDEG_JOBS"
    amount = validate(ExecutionConfig, {name: {"jobs": number_or_text(text)}}).jobs
    return None if amount == "auto" else amount
