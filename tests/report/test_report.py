"""The report: what is in it, that its bytes repeat, and how a browser lays it out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from resdeg.analysis.claims import CLAIMS
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import RULE, Verdict
from resdeg.report.page import make_report, render_html, render_markdown
from resdeg.report.style import THEMES
from resdeg.report.svg import colour_variables
from tests.planted import CELLS, PLANTS, planted
from tests.report.browser import laid_out

ROOT = Path(__file__).parents[2]


@pytest.fixture
def supported(tmp_path: Path) -> Path:
    planted(tmp_path / "s", **PLANTS[Verdict.SUPPORTED])
    return tmp_path / "s"


def test_bytes_repeat(supported: Path) -> None:
    sweep = load_sweep(supported)
    assert render_html(make_report(sweep)) == render_html(make_report(sweep))
    assert render_markdown(make_report(sweep)) == render_markdown(make_report(load_sweep(supported)))


def test_f_and_intervals_of_more_than_95_percent_are_explained(supported: Path, tmp_path: Path) -> None:
    share = "a claim that gets half of it has an interval of 97.5 %"
    planted(tmp_path / "none", **PLANTS[Verdict.NOT_ASKED])
    for folder, shares in ((supported, True), (tmp_path / "none", False)):
        report = make_report(load_sweep(folder))
        for page in (render_markdown(report), render_html(report)):
            assert "f, what a fall must exceed, is 2 points." in page
            assert (share in page) is shares
            assert ("97.5 % interval" in page or "98.75 % interval" in page) is shares


def test_the_heading_names_the_families_of_the_sweep(supported: Path, tmp_path: Path) -> None:
    cells = {cell: accuracies for cell, accuracies in CELLS.items() if cell[0] == "residual"}
    planted(tmp_path / "one", cells)
    for folder, families in ((supported, "plain and residual"), (tmp_path / "one", "residual")):
        report = make_report(load_sweep(folder))
        assert f"\n{families.capitalize()} networks on CIFAR-10." in render_markdown(report)
        assert f"{folder.name}: {families} networks on CIFAR-10." in render_html(report)


class Outline(HTMLParser):
    """Opening and closing tags, and whatever refers outside of the file."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.outside.append(f"{tag} {name}={value}")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_one_whole_file_without_script(supported: Path) -> None:
    outline = Outline()
    outline.feed(render_html(make_report(load_sweep(supported))))
    assert outline.open == []
    assert outline.outside == []
    assert "script" not in outline.seen
    assert outline.seen.index("figure") < outline.seen.index("section"), "the curve comes first"


def test_every_colour_of_a_figure_is_the_page_s(supported: Path) -> None:
    text = render_html(make_report(load_sweep(supported)))
    body = text[text.index("<body>") :]
    assert set(re.findall(r"#[0-9a-f]{6}\b", body)) == set()
    for variable in colour_variables(THEMES["dark"]):
        assert f"var({variable})" in text


def test_it_says_how_it_was_obtained_and_where_the_notes_go_further(supported: Path) -> None:
    text = render_markdown(make_report(load_sweep(supported)))
    for part in (
        RULE, "2 epochs", "fp32", "seeds 0-2", "sign-flip p of 0.2500", "not below .05",
        "Every verdict speaks for recipe short, 2 epochs, and for nothing longer", "Holm",
        "unlikely that identity mappings", "Nothing of the grid",
    ):  # fmt: skip
        assert part in text, part
    for claim in CLAIMS.values():
        assert claim.says in text


def test_generated_images_are_named_as_such(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS, data={"name": "hierarchy"})
    sweep = load_sweep(tmp_path / "s")
    assert "**Generated images, not a natural data set.**" in render_markdown(make_report(sweep))
    assert "Generated images, not a natural data set." in render_html(make_report(sweep))


def test_images_that_are_not_the_genuine_ones_are_named_as_such(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS, data={"label_noise": 0.2, "subset": 20_000})
    sweep = load_sweep(tmp_path / "s")
    name = "20,000 training images of CIFAR-10 with 20 % of training labels changed"
    for text in (render_markdown(make_report(sweep)), render_html(make_report(sweep))):
        assert f"networks on {name}." in text
        assert f"({name}, recipe short, 2 epochs" in text, "a verdict holds for these images"


def test_a_diverged_a_missing_and_a_damaged_run_are_reported(tmp_path: Path, resdeg) -> None:
    store = planted(tmp_path / "s", PLANTS[Verdict.SUPPORTED]["accuracy"], missing=1)
    ids = store.run_ids()
    diverged = store.run(ids[0])
    summary = diverged.summary().model_copy(update={"status": "diverged", "test_accuracy": None})
    (diverged.folder / "summary.json").write_text(summary.to_json())
    (store.run(ids[-1]).folder / "metrics.jsonl").write_text("rot\n")
    done = resdeg("report", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stderr
    for form in ("report.md", "report.html"):
        text = (tmp_path / "s" / form).read_text()
        for part in ("diverged: ", "missing: ", "metrics.jsonl:1: damaged"):
            assert part in text, (form, part)


def test_labels_are_text_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "<script>$x"
    planted(folder, CELLS)
    text = render_html(make_report(load_sweep(folder)))
    assert "<script" not in text
    assert "&lt;script&gt;$x" in text


def test_only_the_full_protocol_is_set_beside_published_numbers(tmp_path: Path) -> None:
    accuracy = {("plain", 20): [0.90, 0.91], ("residual", 20): [0.95, 0.95]}
    short, full = tmp_path / "short", tmp_path / "full"
    planted(short, accuracy)
    planted(full, accuracy, training={"recipe": "he2015"})
    refused = render_markdown(make_report(load_sweep(short)))
    assert "short is not set beside the published numbers: its length is 2 epochs (781 steps)" in refused
    compared = render_markdown(make_report(load_sweep(full)))
    assert re.search(r"\| plain-20 \| 9.5\s%.*\| 8.7 to 9.9\s% \| in band \| 9.68 \(He", compared)
    assert re.search(r"\| residual-20 \| 5.0\s%.*\| below \|", compared)
    assert "is not set beside" not in compared


def test_json_holds_parts_interval_margin_and_verdict(supported: Path, resdeg) -> None:
    done = resdeg("report", supported, "--json")
    report = json.loads(done.stdout)
    claims = {claim["id"]: claim for claim in report["claims"]}
    assert set(claims) == set(CLAIMS)
    rules = "version 2, 2026-11-26, SHA-256 26ce94cd9902"
    assert report["registration"] == f"The rules ({rules}) are younger than these records."
    assert report["peaks"]["plain"]["best"] == 20
    assert (report["peaks"]["plain"]["low"], report["peaks"]["plain"]["high"]) == (8, 56)
    assert claims["C1"]["verdict"] == "SUPPORTED"
    assert claims["C1"]["low"] <= claims["C1"]["excess"] <= claims["C1"]["high"]
    assert [(part["name"], part["margin"]) for part in claims["C1"]["parts"]] == [
        ("rise", 0.01),
        ("fall", 0.02),
    ]
    assert claims["C1"]["witness"] == "depth 20"
    assert (claims["C1"]["beyond"], claims["C1"]["seeds"], claims["C1"]["few_seeds"]) == (3, 3, True)
    assert claims["C3"]["parts"][0]["margin"] == -0.02
    assert claims["C5"]["verdict"] == "NOT ASKED"
    assert claims["C5"]["needs"]


def test_claims_are_judged_by_the_evaluation_of_the_training_only(tmp_path: Path, resdeg) -> None:
    """By running statistics C1 to C4 would be supported, by each image's own all networks are alike."""
    store = planted(tmp_path / "s", **PLANTS[Verdict.SUPPORTED], model={"norm": "instance"})
    alike = dict.fromkeys(("image_test_accuracy", "image_train_accuracy"), 0.9)
    for run_id in store.run_ids():
        run = store.run(run_id)
        summary = run.summary().model_copy(update=alike)
        lines = [record.model_copy(update={"image_test_accuracy": 0.9}).to_json() for record in run.metrics()]
        (run.folder / "summary.json").write_text(summary.to_json())
        (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    done = resdeg("report", store.folder)
    assert "C1  SUPPORTED" not in done.stdout
    assert "evaluated by each image's own statistics" in (store.folder / "report.md").read_text()
    assert resdeg("report", store.folder, "--evaluation", "running").returncode == 2


def test_nothing_to_report_is_said(resdeg, tmp_path: Path) -> None:
    assert resdeg("report").returncode == 2
    assert resdeg("report", tmp_path).returncode == 2


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", ["planted", "first-light", "stargan-first-light"])
def test_a_browser_lays_it_out_without_overflow(width: int, name: str, tmp_path: Path) -> None:
    """Nothing is wider than the window, and every figure can be read out."""
    if name == "planted":
        planted(tmp_path / "s", **PLANTS[Verdict.SUPPORTED])
    sweep = load_sweep(tmp_path / "s" if name == "planted" else ROOT / "results" / name)
    shown = sweep.evaluated(sweep.evaluations[0])
    (tmp_path / "report.html").write_text(render_html(make_report(shown)))
    layout = laid_out(tmp_path / "report.html", width, tmp_path)
    assert layout["width"] == width
    assert layout["scrolls"] <= width
    assert layout["wide"] == []
    assert layout["figures"] >= 5
    assert layout["silent"] == []
    assert layout["empty"] == []
    assert layout["twice"] == []
    assert layout["scripts"] == 0
    if width == 1440:
        assert layout["tables"] == 0


@pytest.mark.slow
@pytest.mark.browser
def test_it_is_dark_where_the_reader_is(supported: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render_html(make_report(load_sweep(supported))))
    light = laid_out(tmp_path / "report.html", 360, tmp_path)
    dark = laid_out(tmp_path / "report.html", 360, tmp_path, dark=True)
    assert (light["paper"], dark["paper"]) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
    assert light["ink"] != dark["ink"]


@pytest.mark.slow
@pytest.mark.browser
def test_the_browser_sees_what_is_too_wide_or_silent(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(
        '<!DOCTYPE html><body><p style="width:900px">x</p><svg role="img" height="20"></svg></body>'
    )
    layout = laid_out(tmp_path / "bad.html", 360, tmp_path)
    assert layout["wide"] == ["P."]
    assert layout["scrolls"] > 360
    assert layout["silent"] == ["svg."]
