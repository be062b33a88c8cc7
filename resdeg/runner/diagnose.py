"""The network of a finished run, measured: at initial values, at snapshots and from the newest checkpoint."""

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
from resdeg.runner import initial_model, load_model, model_at
from resdeg.runner.parts import parts
from resdeg.store import RunStore, keep_measured


@dataclass(frozen=True)
class Measured:
    """One kind of evidence on one network in one state, stored. numbers: how many it is."""

    kind: str
    state: State
    numbers: int


def diagnose(
    store: RunStore,
    run: RunConfig,
    kinds: Sequence[str],
    images: int | None,
    place: Path | None = None,
    again: bool = False,
    warn: Callable[[str], None] = lambda told: None,
) -> Iterator[Measured]:
    """Measure `run`'s network on the CPU in fp32; each kind in each state is stored before it is yielded.

    diagnostics.jsonl is replaced as one step, so it holds whole kinds whenever this ends. One process at a
    time may measure a run: `resdeg.sweep.measuring` holds a lock for all of a sweep.

    Args:
        kinds: of DIAGNOSTICS.
        images: held-out images, all there are where the test split has fewer; see `Sample`. None: IMAGES of
            them, and a kind that was measured on more stays, so that a costly measure on the whole test split
            is not replaced by a coarser one that nobody asked for.
        place: where the data set is, see `resdeg.data.load`.
        again: measure anew what is there from as many images.
        warn: told of each snapshot that is damaged; it is passed over.

    Raises:
        UsageError: the run was trained on other data.
        DataError, StorageError: data or checkpoints cannot be read, or the disk refuses.
    """
    dataset = data.load(run.data, place)
    _check_data(store, dataset.hash)
    sample = Sample.from_dataset(dataset, IMAGES if images is None else images, adopted=run.adopted)
    end = _trained_state(store)
    for state, build in _networks(store, run, end, sample, warn):
        todo = [
            kind
            for kind in kinds
            if (state == end or DIAGNOSTICS[kind].untrained)
            and (again or not _there(store, kind, state, DIAGNOSTICS[kind].images(sample), images is None))
        ]
        if not todo:
            continue
        model = build()
        for kind in todo:
            # A net with instance norms as it was trained, which its running statistics are not.
            with image_statistics(model) as own:
                numbers = DIAGNOSTICS[kind].measure(model, sample)
            if own:
                numbers = [_noting(number, "each image's own statistics") for number in numbers]
            _replace(store, kind, state, numbers)
            yield Measured(kind, state, len(numbers))


def _check_data(store: RunStore, found: str) -> None:
    for segment in store.environment().segments:
        if segment.data_hash != found:
            raise UsageError(
                f"{store.folder.name}: trained on data {segment.data_hash[:9]}, this is {found[:9]}",
                "give the same data",
            )


def _networks(
    store: RunStore, run: RunConfig, end: State, sample: Sample, warn: Callable[[str], None]
) -> Iterator[tuple[State, Callable[[], CifarNet]]]:
    """The states of a run's network, in the order of its training, and how to have it in each."""
    # A constructed net has no initial values, it is made of a trained one; an adopted one's are not known.
    if run.constructed is None and run.adopted is None:
        yield "initial", partial(_untrained, run, sample)
    first, notices = parts(run, data.shape(run.data).train)[-1].first, list[str]()
    for step, tensors in store.snapshots(notices):
        if first < step != end:  # before, a constructed net is the shallow one
            yield step, partial(model_at, run, step, tensors)
    for notice in notices:
        warn(notice)
    yield end, partial(load_model, store.folder)


def _noting(number: Number, what: str) -> Number:
    return replace(number, note=f"{number.note}; {what}" if number.note else what)


def _untrained(run: RunConfig, sample: Sample) -> CifarNet:
    """Initial weights, and the statistics that evaluation mode needs."""
    model = initial_model(run)
    recompute_statistics(model, sample.train_batches(len(sample)))
    return model


def _trained_state(store: RunStore) -> State:
    found, summary = store.checkpoint(), store.summary()
    if found is None:
        raise StorageError(f"{store.folder}: no usable checkpoint", "train the run again")
    return "final" if summary is not None and summary.status == "finished" else found[0].step


def _there(store: RunStore, kind: str, state: State, images: int, or_more: bool) -> bool:
    """Whether `kind` is stored in `state` on `images` images; or on more of them, where that will do."""
    counts = {record.images for record in store.diagnostics() if (record.kind, record.state) == (kind, state)}
    return images in counts or (or_more and any(count > images for count in counts))


def _replace(store: RunStore, kind: str, state: State, numbers: Sequence[Number]) -> None:
    new = [DiagnosticRecord(kind=kind, state=state, **vars(number)) for number in numbers]
    keep_measured(store, kind, state, new)
