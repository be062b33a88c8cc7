"""What people type first: options of other programs, answered with ours, and lists with spaces."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import typer.core

from resdeg.config import check_depth
from resdeg.config.synonyms import FIXED, SETTINGS, normalized
from resdeg.errors import UsageError

# What to write, and the names that mean it; {} stands for the value that was given. An answer counts only for
# a command that has all of its options.
ANSWERS = {
    "--epochs {}": "epoch num-epochs n-epochs nepochs max-epochs total-epochs train-epochs ep e",
    "--steps {}": "step max-steps num-steps train-steps iterations iters num-iters max-iter max-iters",
    "--depths {}": "depth layers num-layers n-layers nlayers",
    "--depth {}": "depths layers num-layers n-layers nlayers",
    "--families {}": "family",
    "--family {}": "families",
    "--seeds {}": "seed random-seed random-state manual-seed rng-seed",
    "--seed {}": "seeds random-seed random-state manual-seed rng-seed",
    "--seeds 0-2, for three of them": "num-seeds n-seeds repeats repetitions replicates trials runs num-runs",
    "--data {}": "dataset data-set dataset-name ds",
    "--data-dir {}": "data-path data-root dataroot datadir dataset-dir dataset-path data-folder root",
    "--out {}": "output output-dir outdir out-dir save save-dir savedir log-dir logdir work-dir o",
    "--out FILE.{}": "format fmt ext",
    "--device cuda": "cuda use-cuda use-gpu",
    "--device cuda, and for one GPU of several CUDA_VISIBLE_DEVICES=N before the command": "gpu gpus",
    "--device cpu": "cpu no-cuda no-gpu",
    "--device mps": "mps",
    "--device cuda, and CUDA_VISIBLE_DEVICES={} before the command": "gpu-id gpu-ids device-id device-ids",
    "--jobs {}": "n-jobs njobs num-jobs max-jobs parallel processes num-processes nproc j",
    "--jobs N for N runs side by side; a run needs no workers for its images": "workers num-workers",
    "--precision bf16": "amp bf16 half fp16 mixed-precision use-amp autocast",
    "--fast-math": "tf32 allow-tf32 benchmark cudnn-benchmark non-deterministic",
    "--time-limit {}": "time max-time timeout time-budget walltime duration",
    "--fresh": "overwrite force restart no-resume f",
    "--dry-run": "dryrun plan simulate n",
    "--offline": "no-download",
    "the file without an option (as in: resdeg sweep FILE.toml --dry-run)": "config cfg config-file conf c",
    "the same command without --fresh: it goes on where it stopped": "resume continue auto-resume",
    "--set training.warmup_steps=STEPS": "warmup warmup-epochs",
    "--set training.pad=0 --set training.flip=false": "augment no-augment no-augmentation no-aug",
    "--set training.flip=false": "no-flip",
    "--set model.norm=none": "no-bn no-norm no-batch-norm",
    "--set execution.snapshots=N": "save-every save-freq save-interval checkpoint-every",
}
_LISTS = ("--depths", "--depth", "--families", "--seeds")
MODELS = "model arch network net architecture backbone model-name a"


def join_lists(arguments: Sequence[str]) -> Iterator[str]:
    """Yields the arguments with the list of an option as one of them, as in `--depths 8 20 56`.

    >>> list(join_lists(["sweep", "--depths", "8,", "20", "--seeds", "0"]))
    ['sweep', '--depths', '8, 20', '--seeds', '0']
    """
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        if name in _LISTS and rest and not equals:
            yield argument
            argument = rest.pop(0)
        while (
            name in _LISTS
            and rest
            and re.fullmatch(r"(?:[0-9,.:-]*[0-9]|plain|residual),?", rest[0], re.ASCII)
        ):
            argument += f" {rest.pop(0)}"
        yield argument


class Commands(typer.core.TyperGroup):
    """The commands; an option that none of them has is answered with what to write instead."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj = [*args]  # the parser empties the list, and the answer names the value that was given
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if not _is_unknown_option(error):
                raise
            raise UsageError(*explain_option(error, ctx)) from error

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not _is_unknown_option(error):
                raise
            raise UsageError(*explain_option(error, ctx)) from error


def _is_unknown_option(error: Exception) -> bool:
    # Releases of Typer keep the class in different modules, and none of them makes it public.
    return type(error).__name__ == "NoSuchOption"


def explain_option(error: Any, root: Any) -> tuple[str, str]:
    """Says that a command has no such option, and what to write instead.

    Args:
        error: what the parser raised.
        root: the context of the program, whose arguments it keeps.
    """
    command, path = error.ctx.command, _spell_path(error.ctx)
    written, value = _find_argument(error.option_name, root.obj)
    name, options = normalized(written), _list_options(command)
    what = f"{path} has no option {written}"
    if command is root.command:
        behind = "the options of a command stand behind it, see resdeg sweep --help"
        return what, _name_commands(f"--{name}", root) or behind
    if name in FIXED and "--set" in options:
        return f"{what}: it does not vary", f"leave it out: {FIXED[name]}"
    if name in MODELS.split() and "--set" in options:
        return what, _describe_model(value, options)
    answers = [answer for answer, names in ANSWERS.items() if name in names.split()]
    if name in SETTINGS:
        answers.append(f"--set {SETTINGS[name]}={{}}")
    for answer in answers:
        if options.issuperset(re.findall(r"--[a-z-]+", answer)):
            return what, f"write {answer.format('VALUE' if value is None else shlex.quote(value))}"
    if near := difflib.get_close_matches(f"--{name}", options, n=1, cutoff=0.8):
        return what, f"did you mean {near[0]}?"
    if f"--{name}" in _list_options(root.command):
        return what, f"give it before the command: resdeg --{name} ..."
    if path == "resdeg config show" and f"--{name}" in _list_options(root.command.commands["sweep"]):
        return what, "leave it out: it does not change what is trained"
    return what, _name_commands(f"--{name}", root) or f"{path} --help lists its options"


def _spell_path(ctx: Any) -> str:
    """Spells the command as users call it, whatever the name of the program is."""
    return "resdeg" if ctx.parent is None else f"{_spell_path(ctx.parent)} {ctx.info_name}"


def _find_argument(option: str, arguments: Sequence[str]) -> tuple[str, str | None]:
    """Finds the option as it was written, and its value if it has one.

    The parser names only -l of `-lr`, because letters behind one dash are options of their own.
    """
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option or (not option.startswith("--") and name.startswith(option)):
            if equals:
                return name, value
            after = arguments[number + 1 : number + 2]
            return name, after[0] if after and not re.match(r"-(?![0-9.])", after[0]) else None
    return option, None


def _list_options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("-")}


def _describe_model(value: str | None, options: set[str]) -> str:
    families, depths = ("--family", "--depth") if "--family" in options else ("--families", "--depths")
    match = re.fullmatch(r"([a-z]*?)(?:net)?[-_]?([0-9]{1,4})", (value or "").lower(), re.ASCII)
    if match is None or match[1] not in ("res", "plain", "residual", ""):
        return f"write {families} plain or residual, and {depths} 56 or any other 6n+2: they make the network"
    family = "plain" if match[1] == "plain" else "residual"
    try:
        return f"write {families} {family} {depths} {check_depth(int(match[2]))}"
    except UsageError as error:
        return f"write {families} {family} {depths} N, where N is 6n+2: {error.remedy or error.what}"


def _name_commands(option: str, root: Any) -> str:
    """Names the commands that have the option; empty if none has."""
    having = [name for name, command in root.command.commands.items() if option in _list_options(command)]
    return f"{option} is an option of {', '.join(f'resdeg {name}' for name in having)}" if having else ""
