"""The published numbers, their bands, and a sweep beside them where its schedule allows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.analysis.anchors import BANDS, Band, check_protocol, compare, load_anchors
from resdeg.analysis.frame import load_sweep
from resdeg.config import resolve
from resdeg.errors import UsageError
from tests.planted import planted

FULL = {"recipe": "he2015"}
# In band, above, not trained (56); in band, below, in the grid and not finished.
CELLS = {
    ("plain", 20): [0.91, 0.90, 0.905], ("plain", 32): [0.85, 0.86, 0.87],
    ("residual", 20): [0.91, 0.92, 0.915], ("residual", 32): [0.94, 0.95, 0.96],
}  # fmt: skip


def full(folder: Path):
    """A planted sweep under the paper's schedule, two seeds of residual-32 not finished."""
    store = planted(folder, CELLS, training=FULL)
    for run_id in store.run_ids():
        if run_id.startswith(("residual-d32-s1", "residual-d32-s2")):
            (store.run(run_id).folder / "summary.json").unlink()
    return store


def test_the_table_is_that_of_the_sources() -> None:
    table = load_anchors()
    by_key = {(anchor.source, anchor.family, anchor.depth, anchor.metric): anchor for anchor in table}
    assert len(table) == len(by_key) == 75
    ours = by_key["He et al. 2015", "residual", 110, "test_error"]
    assert (ours.value, ours.deviation, ours.seeds, ours.provenance) == (0.0661, 0.0016, 5, "primary")
    assert "Table 6" in ours.location
    dead = by_key["He et al. 2015", "plain", 110, "test_error"]
    assert (dead.bound, dead.value, dead.provenance) == ("above", 0.6, "digitised")
    clipped = [anchor for anchor in table if "clipping" in anchor.note]
    assert [(anchor.source, anchor.depth, anchor.value) for anchor in clipped] == [
        ("wooyeolBaek", 56, 0.1186), ("wooyeolBaek", 56, 0.0436),
    ]  # fmt: skip
    for anchor in table:
        assert 0 < anchor.value < 1
        assert anchor.seeds >= 1
        assert (anchor.deviation is None) == (anchor.seeds == 1)
        assert anchor.protocol
        assert anchor.reported
        assert anchor.provenance in ("primary", "digitised", "secondary")


@pytest.mark.parametrize("cell", BANDS, ids=str)
def test_a_band_holds_the_sources_that_it_is_the_span_of(cell: tuple[str, int]) -> None:
    """Bounds, which are no numbers, aside: all lie in it, and some near each of its ends."""
    anchors = [a for a in load_anchors() if (a.family, a.depth, a.metric) == (*cell, "test_error")]
    values = [anchor.value for anchor in anchors if not anchor.bound]
    band = BANDS[cell]
    assert {band.locate(value) for value in values} == {"in band"}
    if band.high < 1:
        assert min(values) - band.low < 0.002
        assert band.high - max(values) < 0.002


def test_a_band_is_seen_as_coarsely_as_its_ends() -> None:
    band = Band(0.087, 0.099)
    places = [band.locate(error) for error in (0.0864, 0.0865, 0.09, 0.0995, 0.0996)]
    assert places == ["below", "in band", "in band", "in band", "above"]


def test_a_full_sweep_is_placed_cell_by_cell(tmp_path: Path) -> None:
    full(tmp_path / "s")
    comparison = compare(load_sweep(tmp_path / "s"))
    cells = {(cell.family, cell.depth, cell.metric): cell for cell in comparison.cells}
    assert "64,000 steps of batch 128" in comparison.protocol
    placed = {key[:2]: cell.relation for key, cell in cells.items() if key[2] == "test_error"}
    assert placed == {
        ("plain", 20): "in band", ("plain", 32): "above", ("residual", 20): "in band",
        ("residual", 32): "below", **{(f, d): None for f in ("plain", "residual") for d in (44, 56, 110)},
    }  # fmt: skip
    cell = cells["residual", 32, "test_error"]
    assert cell.ours is not None
    assert (cell.ours.seeds, cell.planned, cell.ours.low) == (1, 3, None)
    assert cell.ours.mean == pytest.approx(0.06)
    assert (cells["plain", 56, "test_error"].ours, cells["plain", 56, "test_error"].planned) == (None, 0)
    training = cells["plain", 20, "train_error"]
    assert (training.band, training.relation) == (None, None)
    assert training.ours is not None
    assert training.ours.mean == pytest.approx(0.095), "the running one"
    assert [anchor.source for anchor in training.anchors] == [
        "He et al. 2015", "a-martyn/resnet", "wooyeolBaek",
    ]  # fmt: skip


def test_a_diverged_run_is_in_no_mean(tmp_path: Path) -> None:
    store = full(tmp_path / "s")
    run = store.run(next(name for name in store.run_ids() if name.startswith("plain-d20-s0")))
    (run.folder / "summary.json").write_text(
        run.summary().model_copy(update={"status": "diverged"}).to_json()
    )
    cell = next(
        candidate
        for candidate in compare(load_sweep(tmp_path / "s")).cells
        if (candidate.family, candidate.depth) == ("plain", 20)
    )
    assert cell.ours is not None
    assert (cell.ours.seeds, cell.planned) == (2, 3)


def settings(**tables: object):
    return resolve(None, {}, [], {"depths": "20", "seeds": "0", **tables})


@pytest.mark.parametrize(
    "tables",
    [
        {"training": FULL},
        {"training": {"recipe": "he2015-warmup"}},
        {"training": {**FULL, "precision": "bf16"}},
        {"training": FULL, "data": {"validation": 5000}},
    ],
)
def test_what_the_sources_differ_in_themselves_is_free(tables: dict[str, object]) -> None:
    check_protocol("s", settings(**tables))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, r"its length is 10 epochs \(3,906 steps\) of batch 128, theirs is 64,000 steps of batch 128"),
        (
            {"training": {**FULL, "steps": 32_000}},
            "its length is 32,000 steps of batch 128, theirs is 64,000",
        ),
        (
            {"training": {**FULL, "batch_size": 64}},
            "its length is 64,000 steps of batch 64, theirs is 64,000",
        ),
        ({"training": {**FULL, "lr": 0.05}}, "its training.lr is 0.05, theirs is 0.1"),
        (
            {"training": {**FULL, "schedule": "triangle"}},
            "its training.schedule is triangle, theirs is steps",
        ),
        ({"training": {**FULL, "weight_decay": 5e-4}}, "its training.weight_decay is 0.0005"),
        ({"training": FULL, "data": {"name": "cifar100"}}, "its data is cifar100, theirs is cifar10"),
        ({"training": FULL, "data": {"label_noise": 0.1}}, "its data.label_noise is 0.1, theirs is 0.0"),
        ({"training": FULL, "data": {"subset": 49_000}}, "its data.subset is 49000, theirs is None"),
        ({"training": FULL, "model": {"norm": "instance"}}, "its model.norm is instance, theirs is batch"),
        ({"training": FULL, "model": {"shortcut": "projection"}}, "its model.shortcut is projection"),
    ],
)
def test_another_protocol_is_refused_by_name(tables: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        check_protocol("s", settings(**tables))
    assert "--published" in refused.value.remedy
