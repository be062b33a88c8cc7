"""Published errors of the paper's networks under its schedule, compared with ours."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Literal

from resdeg import data
from resdeg.analysis.curve import add_errors
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import DataConfig, Family, ModelConfig, SweepConfig, TrainingConfig
from resdeg.config.recipes import recipe
from resdeg.errors import UsageError

Metric = Literal["test_error", "train_error"]
Provenance = Literal["primary", "digitised", "secondary"]

# He's training error is a mean over the last 9k steps of a curve over training, which ours is nearest to.
OURS: dict[Metric, str] = {"test_error": "test_error", "train_error": "running_train_error"}
PUBLISHED = TrainingConfig.model_validate(recipe("he2015"))
# The settings that may differ, or whose effect on the length is compared.
_FREE = ("recipe", "epochs", "steps", "warmup_steps", "warmup_lr", "precision", "threads")
# The keys of `resdeg anchors --json`, where they are not the names of the fields.
_KEYS = {"location": "place", "planned": "wanted", "relation": "placed"}


@dataclass(frozen=True)
class Anchor:
    """One published number: an error as a fraction, with its standard deviation over seeds if there is one.

    location: the table or figure of the source. bound: "above" where the source only says that the error is
    larger than `value`. reported: the epoch at which it was measured. provenance: read in the source, off a
    figure of it ("digitised"), or in a copy of it ("secondary"). note: how it departs from the protocol.
    """

    source: str
    location: str
    family: Family
    depth: int
    metric: Metric
    bound: Literal["", "above"]
    value: float
    deviation: float | None
    seeds: int
    protocol: str
    reported: str
    provenance: Provenance
    note: str


@dataclass(frozen=True)
class Band:
    """The span of independent sources, as fractions; its ends are rounded to a tenth of a point."""

    low: float
    high: float

    def locate(self, error: float) -> Literal["below", "in band", "above"]:
        """Returns where an error lies, rounded as coarsely as the ends."""
        if error < self.low - 0.0005 - 1e-9:
            return "below"
        return "above" if error > self.high + 0.0005 + 1e-9 else "in band"


# Test error under the paper's full protocol. No band for training errors: three sources, two definitions.
BANDS: dict[tuple[Family, int], Band] = {
    ("plain", 20): Band(0.087, 0.099), ("plain", 32): Band(0.094, 0.106), ("plain", 44): Band(0.113, 0.121),
    ("plain", 56): Band(0.118, 0.133), ("plain", 110): Band(0.60, 1.0),
    ("residual", 20): Band(0.077, 0.092), ("residual", 32): Band(0.070, 0.087),
    ("residual", 44): Band(0.067, 0.081), ("residual", 56): Band(0.065, 0.075),
    ("residual", 110): Band(0.058, 0.072),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One family, depth and metric.

    ours: None without a finished run. planned: how many seeds the grid has; 0 where it has no such network.
    relation: where our mean lies, None without a band or a mean.
    """

    family: Family
    depth: int
    metric: Metric
    ours: Estimate | None
    planned: int
    band: Band | None
    relation: str | None
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True)
class Comparison:
    """A sweep compared with the published numbers: how it was trained, a cell per family, depth and metric.

    Errors are fractions. Our test error is that of the last epoch, and for adopted weights that of the epoch
    that was published. Our training error is the running one, which adopted weights do not have.
    adopted: whose weights they are where they were not trained here.
    """

    sweep: str
    protocol: str
    adopted: str | None
    cells: tuple[Cell, ...]


def export_fields(record: Anchor | Comparison) -> dict[str, Any]:
    """Returns the fields of a record by their keys in JSON."""
    return asdict(
        record, dict_factory=lambda fields: {_KEYS.get(name, name): value for name, value in fields}
    )


def load_anchors() -> tuple[Anchor, ...]:
    """Returns the published numbers, in the order of the table."""
    text = resources.files("resdeg.analysis").joinpath("anchors.csv").read_text(encoding="utf-8")
    return tuple(_anchor(row) for row in csv.DictReader(text.splitlines()))


def _anchor(row: dict[str, Any]) -> Anchor:
    values = {
        "location": row.pop("place"),
        "depth": int(row["depth"]),
        "seeds": int(row["seeds"]),
        "value": float(row["value"]),
        "deviation": float(row["deviation"]) if row["deviation"] else None,
    }
    return Anchor(**(row | values))


def check_protocol(folder: str, config: SweepConfig) -> None:
    """Refuses to compare a sweep with the published numbers that was not trained as they were.

    Warm-up, precision and a validation split are free: the sources differ in them.

    Raises:
        UsageError: another schedule, another data set or another network, named with the published one.
    """
    training, images, adopted = config.training, data.shape(config.data).train, config.adopted
    if adopted is not None and not adopted.schedule_known:
        raise UsageError(
            f"{folder} is not set beside the published numbers: it is adopted from {adopted.source}, and how "
            "its networks were trained is not known",
            "give `resdeg adopt` --recipe, --epochs or --set training..., where you know it",
        )
    steps, published = training.total_steps(images), PUBLISHED.total_steps(images)
    spelled = training.length if training.steps else f"{training.length} ({steps:,} steps)"
    lengths = (
        f"{spelled} of batch {training.batch_size}",
        f"{published:,} steps of batch {PUBLISHED.batch_size}",
    )
    # Others counted whole epochs: the last epoch that the published steps reach into may be whole.
    over = 0 if adopted is None else images / PUBLISHED.batch_size
    same = published <= steps <= published + over and training.batch_size == PUBLISHED.batch_size
    pairs: list[tuple[str, object, object]] = [] if same else [("length", *lengths)]
    pairs.append(("data", config.data.name, DataConfig().name))
    pairs += [
        (f"data.{name}", getattr(config.data, name), getattr(DataConfig(), name))
        for name in ("subset", "label_noise")
    ]
    pairs += [
        (f"training.{name}", value, getattr(PUBLISHED, name)) for name, value in training if name not in _FREE
    ]
    pairs += [(f"model.{name}", value, getattr(ModelConfig(), name)) for name, value in config.model]
    whose = folder if adopted is None else f"{folder} (adopted from {adopted.source})"
    for name, ours, theirs in pairs:
        if ours != theirs:
            raise UsageError(
                f"{whose} is not set beside the published numbers: its {name} is {ours}, theirs is {theirs}",
                "`resdeg anchors --published` prints them alone; --recipe he2015 is their protocol",
            )


def compare(sweep: SweepFrame) -> Comparison:
    """Compares our errors with every published one; only finished runs count.

    Raises:
        UsageError: the sweep was not trained as the published networks were.
    """
    check_protocol(str(sweep.folder), sweep.config)
    training, split = sweep.config.training, sweep.config.data.validation
    rest = f", {training.warmup_steps} steps of warm-up" if training.warmup_steps else ""
    rest += f", {split:,} images held out" if split else ""
    protocol = f"{training.length} of batch {training.batch_size}, {training.precision}{rest}"
    adopted = None if sweep.config.adopted is None else sweep.config.adopted.source
    if adopted is None:
        protocol += "; last epoch"
    else:
        protocol = (
            f"adopted from {adopted}, not trained here: {protocol}; the epoch that its author published"
        )
    groups: dict[tuple[Metric, Family, int], list[Anchor]] = {}
    for anchor in load_anchors():
        groups.setdefault((anchor.metric, anchor.family, anchor.depth), []).append(anchor)
    cells = tuple(
        _cell(sweep, metric, network=(family, depth), anchors=group)
        for (metric, family, depth), group in groups.items()
    )
    return Comparison(sweep.name, protocol, adopted, cells)


def _cell(sweep: SweepFrame, metric: Metric, *, network: tuple[Family, int], anchors: list[Anchor]) -> Cell:
    family, depth = network
    runs = add_errors(sweep.runs)
    runs = runs[(runs["family"] == family) & (runs["depth"] == depth)]
    errors = [float(error) for error in runs.loc[runs["status"] == "finished", OURS[metric]].dropna()]
    ours = mean_interval(errors) if errors else None
    band = BANDS.get(network) if metric == "test_error" else None
    relation = band.locate(ours.mean) if band and ours else None
    return Cell(family, depth, metric, ours, len(runs), band, relation, tuple(anchors))
