"""The table of measured blocks: each number of the right blocks, seeds and networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.analysis.diagnostics import load_diagnostics, summarise_blocks
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import Verdict
from resdeg.records import DiagnosticRecord
from resdeg.report.block_charts import make_block_section
from resdeg.report.page import make_report, render_html, render_markdown
from resdeg.store import SweepStore
from tests.planted import CELLS, causes, diagnosed, planted
from tests.report.browser import laid_out


@pytest.fixture
def store(tmp_path: Path) -> SweepStore:
    """Only plain-20, seeds 0 and 1, is measured: 9 blocks, of which 4 and 7 change the shape."""
    made = planted(tmp_path / "s", CELLS)
    for seed in (0, 1):
        (run_id,) = [name for name in made.run_ids() if name.startswith(f"plain-d20-s{seed}-")]
        records: list[DiagnosticRecord] = []

        def add(kind: str, name: str, value: float, block: int | None = None) -> None:
            stage = None if block is None else max(0, block - 1) // 3 + 1
            for state, shown in (("initial", 77.0), ("final", value)):
                records.append(  # noqa: B023
                    DiagnosticRecord(
                        kind=kind, state=state, name=name, value=shown, images=500, block=block, stage=stage
                    )
                )

        for block in (1, 2, 3, 5, 6, 8, 9):
            add("identity", "branch", block + seed, block)
            add("identity", "cka", 1 / block, block)
            add("lesions", "accuracy", 0.9 - 0.05 * block - 0.1 * seed, block)
            add("lesions", "accuracy_recomputed", 0.88 - 0.01 * block, block)
        add("lesions", "intact_accuracy", 0.9 - 0.1 * seed)
        add("lesions", "intact_accuracy_recomputed", 0.88)
        for block in range(10):
            add("probes", "accuracy", 0.5 if block == 7 else 0.05 * block, block)
        lines = "".join(record.to_json() + "\n" for record in records)
        (made.run(run_id).folder / "diagnostics.jsonl").write_text(lines)
    return made


def test_each_number_is_of_the_right_blocks(store: SweepStore) -> None:
    frame, _ = load_diagnostics(store.folder)
    (network,) = summarise_blocks(frame, [])
    assert (network.arm, network.family, network.depth, network.seeds, network.images) == (
        "",
        "plain",
        20,
        2,
        (500,),
    )
    assert network.late["branch"] == pytest.approx(7.5), "the median of 5, 6, 8, 9, then the mean over seeds"
    assert network.late["cka"] == pytest.approx((1 / 6 + 1 / 8) / 2)
    assert "distance" not in network.late
    assert network.probes == pytest.approx((0.5, 0.45))
    assert network.intact == pytest.approx(0.85)
    assert network.lost is not None
    assert (network.lost.mean, network.lost.largest) == pytest.approx((0.05 * 34 / 7, 0.45))
    assert network.recomputed is not None
    assert network.recomputed.largest == pytest.approx(0.09)


def test_the_report_has_them(store: SweepStore) -> None:
    report = make_report(load_sweep(store.folder))
    for text in (render_markdown(report), render_html(report)):
        assert "plain-20" in text
        assert "24.3 (45.0)" in text
        assert "500" in text


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_lays_it_out_without_overflow(store: SweepStore, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render_html(make_report(load_sweep(store.folder))))
    for width in (360, 1440):
        layout = laid_out(tmp_path / "report.html", width, tmp_path)
        assert (layout["wide"], layout["silent"], layout["empty"], layout["twice"]) == ([], [], [], [])
        assert layout["scrolls"] <= width


def test_figures_of_the_grid_are_in_the_page_and_can_be_read_out(store: SweepStore) -> None:
    report = make_report(load_sweep(store.folder))
    (drawn,) = report.blocks.figures
    assert "||F(x)|| / ||x||, median of trained networks: 5.50 in plain-20." in drawn.text
    assert drawn.pixels > 400
    whole = render_html(report)
    assert drawn.svg in whole
    assert f"{drawn.text}</desc>" in whole


def test_c10_has_the_nearness_of_every_start(tmp_path: Path) -> None:
    made = causes(tmp_path / "s", Verdict.SUPPORTED)
    for folder in made.folder.glob("runs/plain-d20-*"):
        start = made.run(folder.name).config().model.init
        value = 0.25 if start == "dirac-mixed" else 1.0
        records = [
            DiagnosticRecord(
                kind="identity", state="final", name="distance", value=value * (block > 4), images=500,
                block=block, stage=1,
            ).to_json()
            for block in (3, 5, 9)
        ]  # fmt: skip
        (folder / "diagnostics.jsonl").write_text("\n".join(records) + "\n")
    text = render_markdown(make_report(load_sweep(made.folder)))
    table = text[text.index("## C10") : text.index("## Arms")].splitlines()
    assert (
        "| depth | He's start | start as identities | orthogonal start | distance, late half | seeds |"
        in table
    )
    assert [line.split("|")[5].strip() for line in table if line.startswith(("| 8 ", "| 20 "))] == [
        "- / - / -", "1.00 / 0.25 / 1.00",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_lays_out_causes_arms_and_every_figure(tmp_path: Path) -> None:
    made = diagnosed(causes(tmp_path / "s", Verdict.SUPPORTED))
    (tmp_path / "report.html").write_text(render_html(make_report(load_sweep(made.folder))))
    for width in (360, 1440):
        layout = laid_out(tmp_path / "report.html", width, tmp_path)
        assert (layout["wide"], layout["silent"], layout["empty"], layout["twice"]) == ([], [], [], [])
        assert layout["scrolls"] <= width
        assert layout["figures"] >= 12


def test_without_measures_there_is_no_section(tmp_path: Path) -> None:
    sweep = load_sweep(planted(tmp_path / "s", CELLS).folder)
    assert make_block_section(sweep) is None
    assert "## Blocks" not in render_markdown(make_report(sweep))
