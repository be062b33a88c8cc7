"""What a run leaves behind: one strict JSON object per line or file, each with its schema."""

from __future__ import annotations

import json
import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from resdeg.errors import StorageError

# Of the files. 2 added the image_* numbers and the parts of `seconds`, 3 a segment's code, 4 the clean
# numbers of every record (clean_train_*, clean_seconds) and the recomputed_* ones at a run's end, 5 a
# segment's norms and the seconds of a capture, 6 origin.json and records without running training numbers.
SCHEMA = 6
SEMANTICS = 1  # of the training: raised when a change of code moves numbers (a golden loss guards it)

Status = Literal["finished", "diverged", "failed", "stopped"]
State = Literal["initial", "final"] | int  # of a network that was measured; a step where it was neither
ENDED: tuple[Status, ...] = ("finished", "diverged")  # a diverged run is a result, not to be run again


class Record(BaseModel):
    """Frozen, and strict JSON: a number that is not finite is null, and its name tells why."""

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
        """The record in `text`.

        Raises:
            StorageError: it is not such a record, or a newer resdeg wrote it.
        """
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
    """One line of metrics.jsonl: what is known after `step`. Deterministic fields only.

    Training numbers are running means over the epoch's augmented batches, None of a run that was adopted;
    test numbers are of the evaluation mode. `clean_train_*`: evaluation mode, no augmentation, on the same
    training images for every seed, family and depth, as many as there are test images; None before schema 4.
    `image_*`: with each image's own statistics in place of the running ones, for a net with instance
    norms alone. Losses in nats, accuracies as fractions.
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

    Seconds since the line before: of training, of test and validation scores, of clean training scores.
    """

    step: int
    training_seconds: float
    evaluation_seconds: float
    clean_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        return self.training_seconds + self.evaluation_seconds + self.clean_seconds


class Segment(BaseModel):
    """What the bits of a run depend on beside its settings, for one process that worked on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_step: int
    semantics: int
    data_hash: str
    resdeg: str
    code: str = ""  # digest of the source that makes numbers; unknown before schema 3
    python: str
    torch: str
    numpy: str
    device: str
    processor: str
    threads: int
    norms: str = ""  # fused or torch; not recorded before there was a choice


MAKES_BITS = ("resdeg", "code", "torch", "numpy", "processor", "device", "threads", "norms")  # of a segment


class Environment(Record):
    """environment.json: one segment per process, in order."""

    segments: tuple[Segment, ...] = ()


class Manifest(Record):
    """The commit of one checkpoint generation: its rename makes the tensors count."""

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
    """origin.json: where the weights of an adopted run came from.

    file, bytes, sha256: of the file as it was read. layout: whose names it has; padding: where its option A
    puts the new channels, "behind" the old ones or "around" them; None where the network has none.
    licence, address, trained: in words, None where they are not known.
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

    state: "initial" values, with running statistics measured on training images, because those that
        a network starts with (0 and 1) are of no network; "final", the end of a finished run; or the
        step of a snapshot, or of an unfinished run's checkpoint.
    block: from 1 in the order of the net, 0 the stem. layer: the 3x3 layers from 1, the stem, to
        depth - 1. stage: from 1; the stem's map is the first stage's. None: of the whole network.
    images: how many the number is of; note: what else it depends on.
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


class RunSummary(Record):
    """How a run ended. Clean training numbers: evaluation mode, no augmentation, all training images.

    `recomputed_*`: the clean ones once more, each batch norm's running statistics, which lag behind
    moving weights, replaced by averages over all training images; None for a net without batch norms.
    `image_*`: each image's own statistics in place of the running ones, see EvalRecord. Seconds: `start`
    from the worker's first line to its first step, `capture` of steps captured as CUDA graphs, `training`
    and `evaluation` of all records, `clean` of all clean training numbers, those at the end among them;
    `seconds` is the last three.
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
    """What a worker says of its run while it goes on; never stored."""

    run_id: str
    step: int
    steps: int
    record: EvalRecord | None = None
    notice: str | None = None
