"""Measures a finished run's network: at initial values, at snapshots and from the newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from resdeg import data
from resdeg.config import RunConfig
from resdeg.diagnostics import DIAGNOSTICS
from resdeg.diagnostics.sample import IMAGES, Number, Sample
from resdeg.errors import StorageError, UsageError
from resdeg.models import CifarNet, image_statistics
from resdeg.models.contexts import recompute_statistics
from resdeg.records import DiagnosticRecord, State
from resdeg.runner.phases import plan_phases
from resdeg.runner.restore import initial_model, load_model, model_at
from resdeg.store import NO_CHECKPOINT, RunStore, keep_measured


@dataclass(frozen=True)
class Measured:
    """One kind of evidence on one network in one state, which is stored as that many `numbers`."""

    kind: str
    state: State
    numbers: int


def diagnose(
    store: RunStore,
    run: RunConfig,
    *,
    kinds: Sequence[str],
    images: int | None,
    data_dir: Path | None = None,
    again: bool = False,
    warn: Callable[[str], None] = lambda notice: None,
) -> Iterator[Measured]:
    """Measures `run`'s network on the CPU in fp32; each kind in each state is stored before it is yielded.

    diagnostics.jsonl is replaced as one step, so it holds whole kinds whenever this ends. One process at a
    time may measure a run: `resdeg.sweep.measuring` holds a lock for all of a sweep.

    Args:
        kinds: names in DIAGNOSTICS.
        images: the number of held-out images; a test split that has fewer gives all it has, see `Sample`.
            None takes IMAGES of them and leaves a kind that was measured on more, so that a costly measure
            on the whole test split is not replaced by a coarser one that nobody asked for.
        data_dir: the folder of the data set, see `resdeg.data.load`.
        again: measures anew what was measured on as many images.
        warn: is called with a notice for each snapshot that is damaged and therefore passed over, and where a
            constructed run still trains its shallow network.

    Raises:
        UsageError: the run was trained on other data.
        DataError, StorageError: data or checkpoints cannot be read, or the disk refuses.
    """
    dataset = data.load(run.data, data_dir)
    _check_data(store, dataset.hash)
    sample = Sample.from_dataset(dataset, IMAGES if images is None else images, adopted=run.adopted)
    end = _trained_state(store)
    for state, build in _networks(store, run, end, sample=sample, warn=warn):
        todo = [
            kind
            for kind in kinds
            if (state == end or DIAGNOSTICS[kind].untrained)
            and (
                again
                or not _is_stored(
                    store, kind, state, images=DIAGNOSTICS[kind].images(sample), or_more=images is None
                )
            )
        ]
        if not todo:
            continue
        model = build()
        for kind in todo:
            # A network with instance norms was trained with each image's statistics, not the running ones.
            with image_statistics(model) as own:
                numbers = DIAGNOSTICS[kind].measure(model, sample)
            if own:
                numbers = [_add_note(number, "each image's own statistics") for number in numbers]
            _store_numbers(store, kind, state, numbers)
            yield Measured(kind, state, len(numbers))


def _check_data(store: RunStore, data_hash: str) -> None:
    for segment in store.environment().segments:
        if segment.data_hash != data_hash:
            raise UsageError(
                f"{store.folder.name}: trained on data {segment.data_hash[:9]}, this is {data_hash[:9]}",
                "give the same data",
            )


def _networks(
    store: RunStore, run: RunConfig, end: State, *, sample: Sample, warn: Callable[[str], None]
) -> Iterator[tuple[State, Callable[[], CifarNet]]]:
    """Yields the states of a run's network, in the order of its training, and how to build it in each."""
    # A constructed network has no initial values, because it is made of a trained one; those of an adopted
    # network are not known.
    if run.constructed is None and run.adopted is None:
        yield "initial", partial(_build_untrained, run, sample)
    first = plan_phases(run, data.shape(run.data).train)[-1].schedule.first
    notices: list[str] = []
    for step, tensors in store.snapshots(notices):
        if first < step != end:  # Until `first` a constructed run trains the shallow network.
            yield step, partial(model_at, run, step, tensors=tensors)
    for notice in notices:
        warn(notice)
    if isinstance(end, int) and end <= first:
        warn(f"{run.run_id}: still in the phase of the shallow network, which is not measured")
    else:
        yield end, partial(load_model, store.folder)


def _add_note(number: Number, what: str) -> Number:
    return replace(number, note=f"{number.note}; {what}" if number.note else what)


def _build_untrained(run: RunConfig, sample: Sample) -> CifarNet:
    """Builds the network with its initial weights, and with the statistics that evaluation mode needs."""
    model = initial_model(run)
    recompute_statistics(model, sample.train_batches(len(sample)))
    return model


def _trained_state(store: RunStore) -> State:
    checkpoint, summary = store.checkpoint(), store.summary()
    if checkpoint is None:
        raise StorageError(f"{store.folder}: {NO_CHECKPOINT}", "train the run anew with --fresh")
    return "final" if summary is not None and summary.status == "finished" else checkpoint[0].step


def _is_stored(store: RunStore, kind: str, state: State, *, images: int, or_more: bool) -> bool:
    """Says whether `kind` is stored in `state` on `images` images, or on more where that will do."""
    counts = {record.images for record in store.diagnostics() if (record.kind, record.state) == (kind, state)}
    return images in counts or (or_more and any(count > images for count in counts))


def _store_numbers(store: RunStore, kind: str, state: State, numbers: Sequence[Number]) -> None:
    new = [DiagnosticRecord(kind=kind, state=state, **vars(number)) for number in numbers]
    keep_measured(store, kind, state, new)
