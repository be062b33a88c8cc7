"""What every figure says beside its lines: the runs behind it, the images, the families."""

from __future__ import annotations

from matplotlib.lines import Line2D

from resdeg import data
from resdeg.analysis.frame import SweepFrame
from resdeg.config import ModelConfig, SweepConfig
from resdeg.report.style import Theme
from resdeg.report.units import changed

DEMO_EPOCHS = 5
EVALUATIONS = {"running": "running statistics", "image": "each image's own statistics"}


def describe(sweep: SweepFrame, marks: str = "bars: 95 % Student-t interval of the mean") -> str:
    """What a figure must say of the runs behind it: schedule, precision, seeds, how many are missing."""
    t = sweep.config.training
    rate = f"lr {t.lr:g} {t.schedule}" + (
        f" after {t.warmup_steps} at {t.warmup_lr:g}" if t.warmup_steps else ""
    )
    adopted = sweep.config.adopted
    trained = f"{t.length}, {rate}, batch {t.batch_size}, {t.precision}"
    if adopted is None:
        budget_line = f"recipe {t.recipe}: {trained}"
    else:
        budget_line = f"adopted from {adopted.source}, not trained here: "
        budget_line += trained if adopted.schedule_known else "how they were trained is not known"
    seeds = sorted(set(sweep.runs["seed"]))
    spelt = f"seeds {seeds[0]}-{seeds[-1]}" if len(seeds) > 2 else "seeds " + ", ".join(map(str, seeds))
    contiguous = seeds == list(range(seeds[0], seeds[-1] + 1))
    spelt = spelt if contiguous else f"{len(seeds)} seeds"
    spelt = f"seed {seeds[0]}" if len(seeds) == 1 else spelt
    interval = "one seed: no interval" if len(seeds) == 1 else marks
    lines = [
        budget_line,
        f"{spelt}; {interval}",
        *_network(sweep),
    ]
    counts = sweep.runs["status"].value_counts()
    missing = {status: int(n) for status, n in counts.items() if status != "finished"}
    if missing:
        told = ", ".join(f"{n} {status}" for status, n in sorted(missing.items()))
        lines.append(f"{int(counts.get('finished', 0))} of {len(sweep.runs)} points finished; {told}")
    return "\n".join(lines)


def budget(config: SweepConfig) -> str:
    """What a verdict speaks for: recipe and length, or whose weights were adopted, and their length."""
    t, adopted = config.training, config.adopted
    if adopted is None:
        return f"recipe {t.recipe}, {t.length}"
    return (
        f"weights adopted from {adopted.source}, {t.length if adopted.schedule_known else 'length not known'}"
    )


def _network(sweep: SweepFrame) -> list[str]:
    """What is not He et al.'s network of 2015, and which evaluation is shown where there are two."""
    usual = ModelConfig()
    told = [
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sweep.config.model
        if value != getattr(usual, name)
    ]
    if sweep.config.constructed is not None:
        told.append(changed({"constructed": sweep.config.constructed.model_dump()}))
    if sweep.evaluations != ["running"]:
        told.append(f"evaluated by {EVALUATIONS[sweep.evaluation]}")
    return [", ".join(told)] if told else []


def data_name(config: SweepConfig) -> str:
    """The images of a sweep; and that what it shows is early in training, as in the demo.

    With three times the demo's epochs deep plain networks are as good as shallow ones (results/demo).
    """
    training = config.training
    early = training.recipe == "demo" and training.epochs is not None and training.epochs <= DEMO_EPOCHS
    return data.source(config.data.name).title + (", early in training" if early else "")


def family_handles(sweep: SweepFrame, look: Theme) -> list[Line2D]:
    """Legend entries of the families in the grid."""
    handles = []
    for family in sweep.config.families:
        ink = look.families[family]
        face = ink.colour if ink.filled else look.paper
        handles.append(
            Line2D(
                [], [], color=ink.colour, marker=ink.marker, markerfacecolor=face, linewidth=1.8, label=family
            )
        )
    return handles
