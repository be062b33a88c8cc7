"""The records of a run: one strict JSON object per line or file, each with its schema."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from resdeg.errors import StorageError

# The schema of the files. 2 added the image_* numbers and the parts of `seconds`, 3 a segment's code, 4 the
# clean numbers of every record (clean_train_*, clean_seconds) and the recomputed_* ones at a run's end, 5 a
# segment's norms and the seconds of a capture, 6 origin.json and records without running training numbers.
SCHEMA = 6
# The semantics of the training are raised when a change of code moves numbers; golden losses guard them.
SEMANTICS = 1

Status = Literal["finished", "diverged", "failed", "stopped"]
State = Literal["initial", "final"] | int  # the state of a measured network; an integer is a step between
ENDED: tuple[Status, ...] = ("finished", "diverged")  # a diverged run is a result and is not repeated


class Record(BaseModel):
    """A frozen record in strict JSON. A number that is not finite is null; `not_finite` says what it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA

    def to_json(self) -> str:
        tree = self.model_dump(mode="python")
        odd = {
            key: repr(value)
            for key, value in tree.items()
            if isinstance(value, float) and not math.isfinite(value)
        }
        clean: dict[str, Any] = {k: None if k in odd else v for k, v in tree.items()}
        if odd:
            clean["not_finite"] = odd
        return json.dumps(clean, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Self:
        """Reads the record in `text`; `where` names the file and line in messages.

        Raises:
            StorageError: the text is no such record, or a newer resdeg wrote it.
        """
        with contextlib.suppress(ValidationError):  # One pass reads nearly every record in half the time.
            record = cls.model_validate_json(text)
            if record.schema_version <= SCHEMA:
                return record
        try:
            tree = json.loads(text)
            version = tree.get("schema_version")
            if isinstance(version, int) and version > SCHEMA:
                raise StorageError(
                    f"{where}: written by a newer resdeg (schema {version}, this one knows {SCHEMA})",
                    "update resdeg",
                )
            tree.pop("not_finite", None)
            return cls.model_validate(tree)
        except (ValueError, AttributeError, ValidationError) as error:
            raise StorageError(f"{where}: damaged ({type(error).__name__})") from error


class EvalRecord(Record):
    """One line of metrics.jsonl: the numbers after `step`. Every field is deterministic.

    Training numbers are running means over the epoch's augmented batches, and None for an adopted run; test
    numbers are measured in evaluation mode. `clean_train_*`: evaluation mode, no augmentation, on the same
    training images for every seed, family and depth, as many as there are test images; None before schema 4.
    `image_*`: with each image's own statistics in place of the running ones, only for a net with instance
    norms. Losses are in nats, accuracies are fractions.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    clean_train_loss: float | None = None
    clean_train_accuracy: float | None = None
    image_test_loss: float | None = None
    image_test_accuracy: float | None = None
    image_validation_loss: float | None = None
    image_validation_accuracy: float | None = None
    image_clean_train_loss: float | None = None
    image_clean_train_accuracy: float | None = None


class TimingRecord(Record):
    """One line of timing.jsonl: clocks, which differ between identical runs.

    The fields count seconds since the line before, spent on training, on test and validation scores, and on
    clean training scores.
    """

    step: int
    training_seconds: float
    evaluation_seconds: float
    clean_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        return self.training_seconds + self.evaluation_seconds + self.clean_seconds

    def joined(self, other: TimingRecord) -> TimingRecord:
        """Returns the line of this step with the seconds of both."""
        return TimingRecord(
            step=self.step,
            training_seconds=self.training_seconds + other.training_seconds,
            evaluation_seconds=self.evaluation_seconds + other.evaluation_seconds,
            clean_seconds=self.clean_seconds + other.clean_seconds,
        )


class Segment(BaseModel):
    """What, besides its settings, determines a run's bits, for one process that worked on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_step: int
    semantics: int
    data_hash: str
    resdeg: str
    code: str = ""  # the digest of the source that makes numbers; unknown before schema 3
    python: str
    torch: str
    numpy: str
    device: str
    processor: str
    threads: int
    norms: str = ""  # "fused" or "torch"; not recorded before there was a choice


# The fields of a segment that can change bits.
MAKES_BITS = ("resdeg", "code", "torch", "numpy", "processor", "device", "threads", "norms")


class Environment(Record):
    """The content of environment.json: one segment per process, in order."""

    segments: tuple[Segment, ...] = ()


class Manifest(Record):
    """The commit of one checkpoint generation: the tensors count once this file has been renamed."""

    generation: int
    run_id: str
    step: int
    recorded: int
    file: Literal["a.safetensors", "b.safetensors"]
    bytes: int
    sha256: str
    metrics_bytes: int
    metrics_sha256: str


class Origin(Record):
    """The content of origin.json: where the weights of an adopted run came from.

    file, bytes, sha256: of the file as it was read. layout: the program whose names it has. padding: where
    its option A puts the new channels, "behind" the old ones or "around" them; None if it has no option A.
    licence, address, trained: in words, None if they are not known.
    """

    source: str
    file: str
    bytes: int
    sha256: str
    layout: str
    padding: Literal["behind", "around"] | None = None
    licence: str | None = None
    address: str | None = None
    trained: str | None = None


class DiagnosticRecord(Record):
    """One line of diagnostics.jsonl: one number measured on a run's network.

    state: "initial" for the initial values, with running statistics measured on training images, because
        the statistics that a network starts with (0 and 1) describe no network; "final" for the end of a
        finished run; or the step of a snapshot, or of an unfinished run's checkpoint.
    block: from 1 in the order of the net, 0 for the stem. layer: the 3x3 layers from 1, the stem, to
        depth - 1. stage: from 1; the stem's map is the first stage's. None stands for the whole network.
    images: the number of images that were measured. note: what else the number depends on.
    """

    kind: str
    state: State
    name: str
    value: float | None
    images: int
    layer: int | None = None
    block: int | None = None
    stage: int | None = None
    note: str | None = None


class Share(Record):
    """The content of shard.json: the share of the sweep's plan that is trained in the folder.

    shard: which one, as in "3/8"; run_ids: its runs.
    """

    shard: str
    run_ids: tuple[str, ...]


class RunSummary(Record):
    """The end of a run. Its training numbers are clean: evaluation mode, no augmentation, all images.

    `recomputed_*`: the clean numbers once more, with each batch norm's running statistics, which lag behind
    moving weights, replaced by averages over all training images; None for a net without batch norms.
    `image_*`: with each image's own statistics in place of the running ones, see EvalRecord.
    Seconds: `start` from the worker's first line to its first step, `capture` for capturing steps as CUDA
    graphs, `training` and `evaluation` over all records, `clean` for all clean training numbers including
    those at the end; `seconds` is the sum of the last three.
    """

    run_id: str
    status: Status
    reason: str | None = None
    family: str
    depth: int
    seed: int
    parameters: int
    multiply_adds: int
    step: int
    steps: int
    data_hash: str
    precision: str
    train_loss: float | None = None
    train_accuracy: float | None = None
    recomputed_train_loss: float | None = None
    recomputed_train_accuracy: float | None = None
    running_train_loss: float | None = None
    running_train_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    image_train_loss: float | None = None
    image_train_accuracy: float | None = None
    image_test_loss: float | None = None
    image_test_accuracy: float | None = None
    image_validation_loss: float | None = None
    image_validation_accuracy: float | None = None
    start_seconds: float = 0.0
    capture_seconds: float = 0.0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    clean_seconds: float = 0.0
    seconds: float = 0.0


class Progress(Record):
    """A message of a worker about its run in progress; it is never stored."""

    run_id: str
    step: int
    steps: int
    record: EvalRecord | None = None
    notice: str | None = None
