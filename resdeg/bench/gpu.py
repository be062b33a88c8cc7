"""What a GPU gives, measured by one command within a time budget: tests, bench, a sweep, CIFAR-10.

`make gpu`, or `python -m resdeg.bench.gpu`, writes results/local/gpu-<card>/: the log of every command, the
records of every sweep, and summary.json. It is small enough to carry away. The sweeps themselves, with their
checkpoints, are in results/local/sweeps-<card>/, where the next call resumes the last of them. GPU_DEVICE=cpu
rehearses all of it with tiny settings.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resdeg
from resdeg import files
from resdeg.errors import ResdegError, UsageError, did_you_mean
from resdeg.sweep.signals import handling

ROOT = Path(resdeg.__file__).parents[1]
# The most of the whole time that each step takes.
SHARES = {"tests": 0.2, "bench": 0.4, "figure-six": 0.15, "sweep": 0.2, "he2015": 1.0}
MOST = {"tests": 120.0}  # seconds
GRACE = 5.0  # seconds between SIGTERM, at which a sweep saves its runs, and SIGKILL
LEFT_BEHIND = ("checkpoint", "snapshots", "set-aside", "lock", "lock-owner")  # in the folder of a sweep
FACTS = """
import json, torch
card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
bf16 = card is not None and torch.cuda.is_bf16_supported(including_emulation=False)
print(json.dumps({"card": card, "bf16": bf16, "torch": torch.__version__, "cuda": torch.version.cuda}))
"""

Record = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A program of this interpreter, e.g. `-m resdeg bench`, as part of a step.

    output: the file of its standard output; without one that goes to the log, as its messages do.
    sweep: the folder of the sweep that it runs, which stops by itself before the limit.
    missing: why it cannot run here.
    """

    step: str
    name: str
    arguments: Sequence[str]
    output: str | None = None
    sweep: Path | None = None
    missing: str | None = None


def plan_commands(
    device: str, data_dir: Path | None, *, sweeps: Path, precision: str = "fp32"
) -> list[Command]:
    """Plans the commands of the steps, the most valuable first; on a CPU each is tiny.

    Where `data_dir` is None, CIFAR-10 is not at hand. The sweeps go into folders in `sweeps`.
    """
    tiny = device == "cpu"
    tests = ROOT / "tests" / "training" if tiny else ROOT / "tests"
    can_test = importlib.util.find_spec("pytest") is not None and tests.is_dir()
    no_tests = None if can_test else f"pytest, or the folder {tests}, is not there"
    pytest = ["-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-m", "gpu"]
    pytest += ["--durations", "0", "--ignore", str(ROOT / "tests" / "bench")]  # the bench is the next step
    bench = ["-m", "resdeg", "bench", "--device", device, "--quick", "--json"]
    bench += ["--steps", "1", "--pairs", "1"] if tiny else ["--steps", "100"]
    on_card = ["--device", device]
    on_card += [] if tiny else ["--set", "execution.graph=true", "--set", "execution.group=4"]
    sweep = ["-m", "resdeg", "sweep", "--seeds", "0"]
    built_in = [*sweep, "--fresh", "--data", "hierarchy", "--recipe", "demo"]
    little = ["--depths", "2,8", "--steps", "4", "--set", "data.hierarchy.train_images=256"]
    # Two epochs, because sixteen cores beside an H100 did not train five in the time that the step has.
    built_in += little if tiny else ["--depths", "8,20,32", "--epochs", "2"]
    # The runs are those of configs/he2015.toml, in bf16 where the card has it, as that takes a fifth of the
    # time; a wider grid goes on in the folder of the one before it.
    he2015 = [*sweep, "--data", "cifar10", "--data-dir", str(data_dir), "--recipe", "he2015", *on_card]
    he2015 += ["--precision", precision]
    he2015 += ["--steps", "2"] if tiny else []
    figure_six = ["-m", "resdeg.bench.figure_six", "--device", device]
    figure_six += ["--steps", "1", "--nets", "1", "--group", "2"] if tiny else []
    no_data = "CIFAR-10 is not at hand: give --data-dir, or set RESDEG_DATA_DIR" if data_dir is None else None
    return [
        Command("tests", "tests", [*pytest, str(tests)], missing=no_tests),
        *(
            Command("bench", f"bench-{depth}", [*bench, "--depths", depth], output=f"bench-{depth}.json")
            for depth in (["8"] if tiny else ["20", "56", "110"])
        ),
        Command("figure-six", "figure-six", figure_six, output="figure-six.json"),
        Command("sweep", "sweep-on-card", [*built_in, *on_card], sweep=sweeps / "on-card"),
        Command("sweep", "sweep-on-cpu", [*built_in, "--device", "cpu"], sweep=sweeps / "on-cpu"),
        *(
            Command("he2015", f"he2015-{depths.replace(',', '-')}", [*he2015, "--depths", depths],
                    sweep=sweeps / "he2015", missing=no_data)
            for depths in (["2"] if tiny else ["20,56", "20,32,44,56", "20,32,44,56,110"])
        ),
    ]  # fmt: skip


def select_commands(commands: Sequence[Command], only: str) -> list[Command]:
    """Selects the commands that `only` names, or whose step it names, separated by commas; '' is all.

    Raises:
        UsageError: a name is neither.
    """
    known = {name for command in commands for name in (command.step, command.name)}
    names = [name.strip() for name in only.split(",")] if only else sorted(known)
    for name in names:
        if name not in known:
            raise UsageError(f"--only: '{name}' is no step and no command", did_you_mean(name, sorted(known)))
    return [command for command in commands if {command.step, command.name} & {*names}]


def run_commands(
    commands: Sequence[Command], folder: Path, *, seconds: float, facts: Record, signals: Sequence[int] = ()
) -> Record:
    """Runs every command in its time, whatever became of those before; returns what summary.json holds then.

    Args:
        folder: receives logs, records and summary.json, which is written after every command.
        seconds: for all commands; those of a step share its part, see SHARES.
        facts: the head of the summary.
        signals: those heard; the first one ends the command under way, and no other begins.
    """
    summary: Record = {**facts, "seconds": seconds, "signal": None, "commands": []}
    end, ends = time.monotonic() + seconds, dict[str, float]()
    for command in commands:
        share, now = SHARES[command.step] * seconds, time.monotonic()
        limit = ends.setdefault(command.step, min(end, now + min(share, MOST.get(command.step, share)))) - now
        why_not = "a signal came" if signals else "no time is left" if limit < 1 else command.missing
        record = {"step": command.step, "name": command.name, "limit": round(max(limit, 0.0), 1)}
        if why_not is None:
            record |= run_command(command, folder, limit=limit, signals=signals)
        else:
            record |= {"outcome": f"not run: {why_not}", "rc": None, "seconds": 0.0, "files": []}
        print("{name}: {outcome} ({seconds} s of at most {limit} s)".format(**record), flush=True)
        summary["commands"].append(record)
        summary["signal"], summary["sweep"] = next(iter(signals), None), compare_sweeps(summary["commands"])
        files.write(folder / "summary.json", json.dumps(summary, indent=1, allow_nan=False).encode())
    return summary


def run_command(command: Command, folder: Path, *, limit: float, signals: Sequence[int]) -> Record:
    """Runs a command in a process group of its own, which ends with it, at its limit, or at a signal."""
    arguments = [sys.executable, *command.arguments]
    if command.sweep is not None:  # It stops by itself, so that the records are whole and it can draw.
        time_limit = max(1, round(limit - min(20.0, limit / 3)))
        arguments += ["--out", str(command.sweep), "--time-limit", f"{time_limit}s"]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
    log = folder / f"{command.name}.log"
    output = log if command.output is None else folder / command.output
    start = time.monotonic()
    with files.opened_for_output(log) as messages, files.opened_for_output(output) as results:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=messages if output == log else results,
            stderr=messages, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None and not signals and time.monotonic() < start + limit:
                time.sleep(0.05)
            ended = process.poll() is not None
        finally:
            end_group(process)
    outcome = "failed" if process.returncode else "ended well"
    if not ended:
        outcome = "killed at a signal" if signals else "killed at its limit"
    elif command.sweep is not None and b"time limit reached" in log.read_bytes():
        outcome = "stopped in time, with runs left"
    record = {"outcome": outcome, "rc": process.returncode, "seconds": round(time.monotonic() - start, 1)}
    for empty in (path for path in {log, output} if not path.stat().st_size):
        files.remove(empty)
    written = sorted(path.name for path in folder.glob(f"{command.name}.*"))
    written += [] if command.sweep is None else copy_records(command.sweep, folder)
    shown = ["python", *(each.replace(f"{ROOT}{os.sep}", "") for each in arguments[1:])]  # as anyone has it
    return {**record, "command": shown, "files": written}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all of its group: first so that it can save its work, then at once."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS has no right to a dead group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def copy_records(sweep: Path, folder: Path) -> list[str]:
    """Copies a sweep without weights and locks into `folder`; returns the paths of the copies in there."""
    copied = []
    for path in sorted(sweep.rglob("*")):
        inside = path.relative_to(sweep)
        if path.is_file() and not {*LEFT_BEHIND} & {*inside.parts} and not path.name.startswith("."):
            target = folder / sweep.name / inside
            files.make_folder(target.parent)
            files.write(target, path.read_bytes())
            copied.append(str(target.relative_to(folder)))
    return copied


def compare_sweeps(commands: Sequence[Record]) -> Record | None:
    """Compares the seconds of the built-in sweep on the card and on the CPU; None unless both ended well."""
    pair = [each for each in commands if each["step"] == "sweep" and each["outcome"] == "ended well"]
    if len(pair) < 2:
        return None
    card, cpu = (each["seconds"] for each in pair)
    return {"card_seconds": card, "cpu_seconds": cpu, "cpu_over_card": round(cpu / card, 2)}


def describe_machine(device: str) -> Record:
    """Asks torch, in a process of its own, for the card and the versions, and nvidia-smi for the driver.

    Raises:
        UsageError: `device` is cuda, and torch sees none.
    """
    ask = functools.partial(subprocess.run, capture_output=True, text=True, timeout=120, check=False)
    asked = ask([sys.executable, "-c", FACTS])
    if asked.returncode != 0:
        raise ResdegError(f"torch does not start: {asked.stderr.strip()[-500:]}")
    facts: Record = {"device": device, "driver": None, "python": sys.version, **json.loads(asked.stdout)}
    if device == "cpu":
        facts["card"] = "cpu"
    elif facts["card"] is None:
        raise UsageError("device cuda is not on this machine", "GPU_DEVICE=cpu rehearses without one")
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # There may be no nvidia-smi.
        driver = ask(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
        facts["driver"] = driver.stdout.strip() or None
    return facts


def main(arguments: Sequence[str] | None = None, results: Path = Path("results", "local")) -> int:
    """Runs the steps, and returns an exit code: 0, 1 if a command failed, 128 and more at a signal."""
    parser = argparse.ArgumentParser(prog="python -m resdeg.bench.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything together [10]")
    parser.add_argument("--device", choices=("cuda", "cpu"), default=os.environ.get("GPU_DEVICE") or "cuda")
    data_dir = os.environ.get("RESDEG_DATA_DIR") or None
    parser.add_argument("--data-dir", type=Path, default=data_dir, help="where CIFAR-10 is")
    parser.add_argument("--only", default="", help="steps or commands, e.g. tests,bench-20 [all]")
    options = parser.parse_args(arguments)
    signals: list[int] = []
    try:
        began = time.monotonic()
        facts = describe_machine(options.device)
        card = re.sub(r"[^a-z0-9]+", "-", facts["card"].lower()).strip("-")
        folder = results / f"gpu-{card}"
        if folder.exists():  # An earlier measurement is moved aside.
            aside = (Path(f"{folder}.{number}") for number in itertools.count(1))
            files.move(folder, next(path for path in aside if not path.exists()))
        files.make_folder(folder)
        commands = plan_commands(
            options.device,
            options.data_dir,
            sweeps=results / f"sweeps-{card}",
            precision="bf16" if facts["bf16"] else "fp32",
        )
        commands = select_commands(commands, options.only)
        seconds = 60 * options.minutes - (time.monotonic() - began)
        with handling(lambda number, frame: signals.append(number)):
            summary = run_commands(commands, folder, seconds=seconds, facts=facts, signals=signals)
    except ResdegError as error:
        print(f"error: {error.what}\n       {error.remedy}", file=sys.stderr)
        return error.exit_code
    print(f"written: {folder / 'summary.json'}")
    return 128 + signals[0] if signals else int(any(record["rc"] for record in summary["commands"]))


if __name__ == "__main__":
    sys.exit(main())
