"""Runs and estimates in words, the same in figures, in the report and on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from resdeg import data
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.rules import registered_rules
from resdeg.analysis.stats import Estimate
from resdeg.config import ModelConfig, RegisteredRuns, Registration, SweepConfig
from resdeg.report.units import changed, percent

DEMO_EPOCHS = 5
EVALUATIONS = {"running": "running statistics", "image": "each image's own statistics"}


def join_words(items: Iterable[object]) -> str:
    """Joins items as a sentence does.

    >>> join_words([8, 20, 56])
    '8, 20 and 56'
    """
    words = list(map(str, items))
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def spell_count(count: int, noun: str) -> str:
    """Returns a number of things, as in "1 seed" and "3 seeds"."""
    return f"{count} {noun}{'s' * (count != 1)}"


# ---------------------------------------------------------------- estimates


def spell_mean(point: Estimate, decimals: int | None = None) -> str:
    """Returns the mean as a number of so many decimals; without them it is a fraction, in percent."""
    return percent(point.mean) if decimals is None else f"{point.mean:.{decimals}f}"


def spell_cell(point: Estimate | None, decimals: int | None = None) -> str:
    """Returns a point for a table: mean and interval, with a line break only between them.

    Args:
        decimals: see `spell_mean`.
    """
    if point is None:
        return "-"
    if point.low is None or point.high is None:
        return spell_mean(point, decimals)
    low, high = (
        f"{100 * end:.1f}" if decimals is None else f"{end:.{decimals}f}" for end in (point.low, point.high)
    )
    words = (spell_mean(point, decimals), f"({low} to {high})")
    return " ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)


def spell_half(point: Estimate | None, decimals: int | None = None) -> str:
    """Returns a point for a narrow table: mean and half-width of its interval, fractions in percent.

    Args:
        decimals: see `spell_mean`; the sign for percent is left to the table's head or caption.

    >>> spell_half(Estimate(0.71, 0.68, 0.74, 3)), spell_half(Estimate(0.5, None, None, 1)), spell_half(None)
    ('71.0 ±3.0', '50.0', '-')
    """
    if point is None:
        return "-"
    scale, decimals = (100.0, 1) if decimals is None else (1.0, decimals)
    half = "" if point.high is None else f" ±{scale * (point.high - point.mean):.{decimals}f}"
    return f"{scale * point.mean:.{decimals}f}{half}"


# ---------------------------------------------------------------- runs


def describe_runs(sweep: SweepFrame, marks: str = "bars: 95 % Student-t interval of the mean") -> str:
    """Returns what a figure must say about its runs: schedule, precision, seeds, how many are missing.

    Args:
        marks: how the figure shows several seeds.
    """
    training, adopted = sweep.config.training, sweep.config.adopted
    arithmetic = training.precision + (" in fast math" if training.fast_math else "")
    budget = f"{describe_schedule(sweep.config)}, {arithmetic}"
    if adopted is None:
        budget = f"recipe {training.recipe}: {budget}"
    else:
        budget = f"adopted from {adopted.source}, not trained here: " + (
            budget if adopted.schedule_known else "how they were trained is not known"
        )
    seeds = sorted(set(sweep.runs["seed"]))
    interval = "one seed: no interval" if len(seeds) == 1 else marks
    lines = [budget, f"{_spell_seeds(seeds)}; {interval}", *_describe_network(sweep)]
    return "\n".join(line for line in (*lines, describe_missing(sweep)) if line)


def describe_schedule(config: SweepConfig) -> str:
    """Returns the length of a training, its learning rate and its batch."""
    return ", ".join(list_schedule(config))


def list_schedule(config: SweepConfig) -> list[str]:
    """Lists the parts of a schedule: its length, its learning rate and its batch."""
    training = config.training
    rate = f"lr {training.lr:g} {training.schedule}" + (
        f" after {training.warmup_steps} at {training.warmup_lr:g}" if training.warmup_steps else ""
    )
    return [training.length, rate, f"batch {training.batch_size}"]


def describe_missing(sweep: SweepFrame) -> str:
    """Says how many runs are in no mean, and why; empty where all have finished."""
    counts = sweep.runs["status"].value_counts()
    missing = {status: int(count) for status, count in counts.items() if status != "finished"}
    if not missing:
        return ""
    states = ", ".join(f"{count} {status}" for status, count in sorted(missing.items()))
    return f"{int(counts.get('finished', 0))} of {len(sweep.runs)} points finished; {states}"


def _spell_seeds(seeds: list[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds != list(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} seeds"
    return f"seeds {seeds[0]}-{seeds[-1]}" if len(seeds) > 2 else "seeds " + ", ".join(map(str, seeds))


def _describe_network(sweep: SweepFrame) -> list[str]:
    """Returns how the network differs from that of He et al. 2015, and which of two evaluations is shown."""
    usual = ModelConfig()
    words = [
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sweep.config.model
        if value != getattr(usual, name)
    ]
    if sweep.config.constructed is not None:
        words.append(changed({"constructed": sweep.config.constructed.model_dump()}))
    if sweep.evaluations != ["running"]:
        words.append(f"evaluated by {EVALUATIONS[sweep.evaluation]}")
    return [", ".join(words)] if words else []


def describe_budget(config: SweepConfig) -> str:
    """Returns the recipe and the length that a verdict holds for, or whose weights were adopted."""
    training, adopted = config.training, config.adopted
    if adopted is None:
        return f"recipe {training.recipe}, {training.length}"
    length = training.length if adopted.schedule_known else "length not known"
    return f"weights adopted from {adopted.source}, {length}"


def name_data(config: SweepConfig) -> str:
    """Returns the name of the images, and whether the sweep shows them early in training, as in the demo.

    With three times the demo's epochs deep plain networks are as good as shallow ones (results/demo).
    """
    training = config.training
    early = training.recipe == "demo" and training.epochs is not None and training.epochs <= DEMO_EPOCHS
    return data.name_images(config.data) + (", early in training" if early else "")


def name_data_of_all(sweeps: Iterable[SweepFrame]) -> str:
    """Returns the names of the images of several sweeps, each once, as in "CIFAR-10 and CIFAR-100"."""
    return " and ".join(dict.fromkeys(name_data(sweep.config) for sweep in sweeps))


def _list_added(config: SweepConfig, begun: Registration) -> list[str]:
    """Lists what is planned and was not registered: families, depths, seeds and arms."""
    if begun.grid is None:
        count = len(config.seeds) - begun.seeds
        return [spell_count(count, "seed")] if count > 0 else []
    added = _list_values(config, begun.grid)
    registered = {arm.settings: arm for arm in (begun.arms or {}).values()}
    for name, arm in config.arm_sweeps.items():
        if (before := registered.get(arm.settings_id)) is None:
            added.append(f"the arm {name}")
        else:
            added += [f"{values} of the arm {name}" for values in _list_values(arm, before)]
    return added


def _list_values(grid: SweepConfig, registered: RegisteredRuns) -> list[str]:
    nouns = {"families": "family", "depths": "depth", "seeds": "seed"}
    new = {key: [v for v in getattr(grid, key) if v not in getattr(registered, key)] for key in nouns}
    return [f"{key if len(new[key]) > 1 else nouns[key]} {join_words(new[key])}" for key in new if new[key]]


def describe_registration(sweep: SweepFrame) -> str:
    """Says whether the rules were fixed before the first step of a sweep, or are younger, or other ones."""
    rules, begun = registered_rules(), sweep.config.registration
    if begun is None:
        judged_by = f"version {rules.version}, {rules.date}, SHA-256 {rules.sha256[:12]}"
        return f"The rules ({judged_by}) are younger than these records."
    fixed = f"version {begun.version}, {begun.date}, SHA-256 {begun.sha256[:12]}"
    if begun.sha256 == rules.sha256:
        line = f"The rules were fixed before the first step ({fixed})."
    else:
        line = (
            f"This sweep was begun under other rules ({fixed}) than those that judge it here, which are "
            f"younger than its records (version {rules.version}, {rules.date}, SHA-256 {rules.sha256[:12]})."
        )
    if begun.depth is not None:
        line += f" Depth {begun.depth} was named before the first step."
    if added := _list_added(sweep.config, begun):
        line += f" Added after the first step: {'; '.join(added)}."
    return line
