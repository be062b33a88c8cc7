"""Tables as files: LaTeX that is whole, Markdown with as many cells as its head, CSV for any spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from resdeg.analysis.frame import load_sweep
from resdeg.errors import UsageError
from resdeg.report.kinds import FIGURES
from resdeg.report.table_files import Dialect, write_latex, write_markdown
from resdeg.report.tables import TABLES, PaperTable, make_table
from tests.planted import CELLS, diagnosed, planted

ARM = {
    "arms": {"wide": {"model": {"width": 2.0}}},
    "of_arms": {"wide": {"accuracy": {cell: [value - 0.3 for value in own] for cell, own in CELLS.items()}}},
}
FEW = {cell: values[:1] for cell, values in CELLS.items() if cell[0] == "plain"}
SPECIAL = "50%_a&b #$^~\\{} <i>|\"x\" [y]* a--b e\u0301 '' `z`"


@pytest.fixture
def sweep(tmp_path: Path):
    diagnosed(planted(tmp_path / "s", CELLS, **ARM))
    return load_sweep(tmp_path / "s")


def read_pipes(text: str) -> list[list[str]]:
    """The cells of a table in Markdown, its head first."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def read_rows(text: str) -> list[str]:
    """The rows of a tabular, its head first."""
    return re.findall(r"^    (.*&.*) \\\\$", text, re.MULTILINE)


def require_whole(text: str) -> None:
    """Fails where LaTeX would stop: braces, columns, environments, or a special letter that is bare."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[%_&#${}\\]", "", code)
    assert bare.count("{") == bare.count("}")
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert (
        re.findall(r"\\begin{(\w+)}", code) == re.findall(r"\\end{(\w+)}", code)[::-1] == ["table", "tabular"]
    )
    rows = read_rows(code)
    (sides,) = re.findall(r"\\begin{tabular}{([lr]+)}", code)
    assert len(rows) >= 2
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(sides) - 1
        assert not re.match(r"[\[*]", row), "it would belong to the \\\\ before it"
    assert not re.search(r"(?<!\\)[%#_^<>|\"]", code.replace(r"\|", "")), "a special letter"
    assert len(re.findall(r"(?<!\\)\$", code)) % 2 == 0


def test_the_curve_as_a_table(sweep) -> None:
    made = make_table("curve", [sweep])
    assert made.table == (
        [
            "depth", "plain, test accuracy", "residual, test accuracy",
            "plain, training error, clean", "residual, training error, clean", "seeds",
        ],
        [
            ["8", "71.0 ±2.5", "71.0 ±2.5", "28.0 ±2.5", "28.0 ±2.5", "3"],
            ["20", "62.0 ±5.0", "81.0 ±2.5", "37.0 ±5.0", "18.0 ±2.5", "3"],
        ],
    )  # fmt: skip
    latex = write_latex(made)
    assert "    20 & 62.0 $\\pm$5.0 & 81.0 $\\pm$2.5 & 37.0 $\\pm$5.0 & 18.0 $\\pm$2.5 & 3 \\\\\n" in latex
    assert "\\label{tab:curve-s}" in latex
    assert "\\usepackage{booktabs}" in latex.splitlines()[0]
    assert "pdflatex" not in latex
    assert read_pipes(write_markdown(made)) == [made.table[0], *made.table[1]]
    for text in (latex, write_markdown(made)):
        assert "CIFAR-10" in text
        assert "2 epochs, lr 0.1 triangle" in text
        assert f"settings {sweep.config.settings_id}" in text
        assert "seeds 0, 1, 2" in text
        assert "95" in text
        assert str(sweep.folder) not in text, "a path of the machine"


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("arm", ["", "wide"])
def test_every_kind_is_whole_and_repeats_its_bytes(sweep, kind: str, arm: str) -> None:
    if arm and kind == "arms":
        return
    shown = sweep.arms[arm] if arm else sweep
    made = make_table(kind, [shown])
    require_whole(write_latex(made))
    assert {len(row) for row in read_pipes(write_markdown(made))} == {len(made.table[0])}
    again = make_table(kind, [load_sweep(sweep.folder).arms[arm] if arm else load_sweep(sweep.folder)])
    assert (write_latex(again), write_markdown(again)) == (write_latex(made), write_markdown(made))
    for other in ("above", "plot draws"):
        assert other not in made.caption, "it speaks of the page"


def test_an_arm_has_its_own_numbers(sweep) -> None:
    arm = sweep.arms["wide"]
    assert make_table("curve", [arm]).table[1][0][1] == "41.0 ±2.5"
    assert "s, wide: settings" in write_latex(make_table("curve", [arm]))
    for kind, named in (("identity", {"plain-20, wide", "residual-8, wide"}), ("gradients", {"8", "20"})):
        assert {row[0] for row in make_table(kind, [arm]).table[1]} >= named
    networks = [row[0] for row in make_table("lesions", [arm]).table[1]]
    assert all(name.endswith(", wide") for name in networks)
    assert "plain-8" in [row[0] for row in make_table("lesions", [sweep]).table[1]]


def test_gradients_of_an_arm_are_not_those_of_the_grid(tmp_path: Path) -> None:
    store = diagnosed(planted(tmp_path / "s", CELLS, **ARM))
    sweep = load_sweep(tmp_path / "s")
    for run in sweep.config.grid():
        (store.run(run.run_id).folder / "diagnostics.jsonl").unlink()
    sweep = load_sweep(tmp_path / "s")
    with pytest.raises(UsageError, match="no gradients of a finished network"):
        make_table("gradients", [sweep])
    assert make_table("gradients", [sweep.arms["wide"]]).table[1]


def test_several_sweeps_stand_below_each_other(sweep, tmp_path: Path) -> None:
    planted(tmp_path / "few", FEW)
    few = load_sweep(tmp_path / "few")
    for order in ([sweep, few], [few, sweep]):
        made = make_table("curve", order)
        head, rows = made.table
        assert head == ["sweep", *make_table("curve", [sweep]).table[0]]
        assert {row[0]: row[1:] for row in rows if row[1] == "8"} == {
            "s": ["8", "71.0 ±2.5", "71.0 ±2.5", "28.0 ±2.5", "28.0 ±2.5", "3"],
            "few": ["8", "70.0", "-", "29.0", "-", "1"],
        }
        require_whole(write_latex(made))
        assert len(made.sources) == 2
        assert "few: recipe short" in made.caption.replace("Few", "few")


def test_special_letters_of_a_name_are_letters(tmp_path: Path) -> None:
    name = SPECIAL.replace("/", "")
    planted(tmp_path / name, CELLS)
    planted(tmp_path / "[b]", CELLS)
    made = make_table("curve", [load_sweep(tmp_path / "[b]"), load_sweep(tmp_path / name)])
    latex, markdown = write_latex(made), write_markdown(made)
    require_whole(latex)
    assert "\n    {[}b{]} & 8 &" in latex
    escaped = (
        r"50\%\_a\&b \#\$\textasciicircum{}\textasciitilde{}\textbackslash{}\{\} \textless{}i"
        r"\textgreater{}\textbar{}"
    )
    assert latex.count(escaped) == 3, "two rows and the caption"
    assert "a-{}-b é" in latex
    assert {len(row) for row in read_pipes(markdown)} == {7}
    assert "\\<i\\>\\|" in markdown
    assert re.search(r"\\label{tab:[a-z0-9-]+}", latex)


@pytest.mark.parametrize("name", ["a\nb\n\\end{table}", os.fsdecode(b"caf\xe9"), "a\tb\x1b[31m\u2028c"])
def test_a_name_of_several_lines_or_no_text_breaks_no_file(tmp_path: Path, name: str) -> None:
    planted(tmp_path / name, CELLS)
    made = make_table("curve", [load_sweep(tmp_path / name)] * 2)
    latex, markdown = write_latex(made), write_markdown(made)
    for text in (latex, markdown):
        text.encode()
        assert "\x1b" not in text
    require_whole(latex)
    comments = latex.splitlines()[1:3]
    assert all(line.startswith("% ") for line in comments)
    assert latex.splitlines()[3] == "\\begin{table}"


def test_letters_that_pdflatex_lacks_are_announced(tmp_path: Path) -> None:
    planted(tmp_path / "退化", CELLS)
    latex = write_latex(make_table("curve", [load_sweep(tmp_path / "退化")] * 2))
    assert "% Some letters are not known to pdflatex" in latex
    assert "退化 & 8" in latex


def test_negative_numbers_have_a_minus() -> None:
    latex = write_latex(PaperTable("n", "n", [], (["x", "y"], [["-0.02", "-"], ["8", "9"]])))
    assert "    $-$0.02 & - \\\\" in latex


def test_a_table_says_what_is_missing(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS, diverged={("plain", 20): {0, 1}})
    made = make_table("curve", [load_sweep(tmp_path / "s")])
    assert "10 of 12 points finished; 2 diverged" in made.caption
    assert made.table[1][1][1] == "62.0", "one seed has no interval"
    assert made.table[1][1][-1] == "1 / 3"
    for run_id in store.run_ids():
        run = store.run(run_id)
        (run.folder / "summary.json").write_text(
            run.summary().model_copy(update={"status": "stopped"}).to_json()
        )
    with pytest.raises(UsageError, match="no run is there to tabulate"):
        make_table("curve", [load_sweep(tmp_path / "s")])


@pytest.mark.parametrize("kind", [kind for kind in FIGURES if kind not in TABLES])
def test_a_kind_without_a_table_is_refused(sweep, kind: str) -> None:
    with pytest.raises(UsageError, match=f"--kind {kind} has no table"):
        make_table(kind, [sweep])


def test_what_was_not_measured_is_asked_for(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    sweep = load_sweep(tmp_path / "s")
    for kind in ("identity", "gradients"):
        with pytest.raises(UsageError) as refused:
            make_table(kind, [sweep])
        assert f"resdeg diagnose {sweep.folder} --kinds {kind}" in refused.value.remedy
    with pytest.raises(UsageError, match="no arm has a record"):
        make_table("arms", [sweep])


def test_latex_compiles(sweep, tmp_path: Path) -> None:
    """What the other tests ask of the text is what LaTeX asks; where it is there, it is asked itself."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed: the LaTeX was read and not compiled")
    strange = planted(tmp_path / SPECIAL, CELLS).folder
    texts = [write_latex(make_table(kind, [sweep])) for kind in TABLES]
    texts.append(write_latex(make_table("curve", [load_sweep(strange), sweep])))
    document = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", *texts]
    (tmp_path / "all.tex").write_text("\n".join([*document, r"\end{document}"]))
    done = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


# ---------------------------------------------------------------- the command


def test_a_table_is_the_only_file_and_json_names_it(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS, **ARM)
    for name in ("t.tex", "deep/t.MD", "t.csv"):
        done = resdeg("plot", "s", "--out", name)
        assert done.stdout.strip() == name, done.stderr
        assert (tmp_path / name).is_file()
        document = json.loads(resdeg("plot", "s", "--out", name, "--json").stdout)
        assert document["table"] == name
        assert "figure" not in document
        assert len(document["curve"]) > 8
    assert not list((tmp_path / "s").glob("*.csv"))
    assert not list((tmp_path / "s").glob("*.png"))
    first = (tmp_path / "t.tex").read_bytes()
    resdeg("plot", "s", "--out", "t.tex")
    assert (tmp_path / "t.tex").read_bytes() == first
    resdeg("plot", "s", "--arm", "wide", "--out", "t.tex")
    assert b"41.0" in (tmp_path / "t.tex").read_bytes()


def test_csv_is_that_of_the_folder_unless_it_is_asked_to_differ(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS, **ARM)
    assert resdeg("plot", "s").returncode == 0
    default = (tmp_path / "s" / "curve.csv").read_bytes()
    assert resdeg("plot", "s", "--out", "c.csv").returncode == 0
    assert (tmp_path / "c.csv").read_bytes() == default
    assert resdeg("plot", "s", "--out", "c.csv", "--sep", ";", "--decimal", ",").returncode == 0
    german = (tmp_path / "c.csv").read_text()
    rows = list(csv.reader(io.StringIO(german), delimiter=";"))
    assert rows[0] == default.decode().splitlines()[0].split(",")
    assert "." not in german
    back = [[cell.replace(",", ".") for cell in row] for row in rows]
    assert back == list(csv.reader(io.StringIO(default.decode())))
    for tab in ("tab", "\\t", "\t"):
        assert resdeg("plot", "s", "--out", "c.csv", "--sep", tab).returncode == 0
        assert (tmp_path / "c.csv").read_bytes() == default.replace(b",", b"\t")
    assert resdeg("plot", "s", "--out", "c.csv", "--arm", "wide").returncode == 0
    assert (tmp_path / "c.csv").read_text().splitlines()[1].startswith("plain,8,test_accuracy,3,0.41")
    assert (tmp_path / "s" / "curve.csv").read_bytes() == default


def test_a_comma_reaches_every_number(resdeg, tmp_path: Path) -> None:
    """The grid's one seed has no interval, the sweep beside it has: their columns are of objects."""
    planted(tmp_path / "few", FEW)
    planted(tmp_path / "s", CELLS)
    assert resdeg("plot", "few", "s", "--out", "c.csv", "--sep", ";", "--decimal", ",").returncode == 0
    text = (tmp_path / "c.csv").read_text()
    assert "." not in text
    assert ";0,7;;;few\n" in text


def test_an_evaluation_chooses_the_numbers(resdeg, tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    for run_id in store.run_ids():
        run = store.run(run_id)
        numbers = {"image_test_accuracy": 0.9, "image_train_accuracy": 0.95}
        (run.folder / "summary.json").write_text(run.summary().model_copy(update=numbers).to_json())
        lines = [record.model_copy(update={"image_test_accuracy": 0.9}).to_json() for record in run.metrics()]
        (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    for by, row, mean in (("image", "90.0 ±0.0", "0.9"), ("running", "71.0 ±2.5", "0.71")):
        for name in ("t.md", "t.csv"):
            assert resdeg("plot", "s", "--evaluation", by, "--out", name).returncode == 0
        assert row in (tmp_path / "t.md").read_text()
        text = (tmp_path / "t.csv").read_text()
        assert f"plain,8,test_accuracy,3,{mean}" in text
        assert "image_" not in text
    assert resdeg("plot", "s", "--out", "t.csv").returncode == 0
    assert "image_test_accuracy" in (tmp_path / "t.csv").read_text(), "as curve.csv, all of them"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sep", ";"], "--sep and --decimal are for CSV"),
        (["--decimal", ","], "--sep and --decimal are for CSV"),
        (["--out", "t.tex", "--sep", ";"], "--sep and --decimal are for CSV"),
        (["--out", "t.png", "--decimal", "."], "--sep and --decimal are for CSV"),
        (["--out", "t.csv", "--decimal", ","], "cannot both be separated by ','"),
        (["--out", "t.csv", "--sep", "."], "cannot both be separated by '.'"),
        (["--out", "t.csv", "--sep", ""], "not a separator"),
        (["--out", "t.csv", "--sep", "ab"], "not a separator"),
        (["--out", "t.csv", "--sep", "1"], "not a separator"),
        (["--out", "t.csv", "--sep", '"'], "not a separator"),
        (["--out", "t.csv", "--sep", "\n"], "not a separator"),
        (["--out", "t.csv", "--decimal", "x"], "not a decimal point"),
        (["--out", "t.csv", "--kind", "gradients"], "--kind gradients has no CSV"),
        (["--out", "t.md", "--kind", "training"], "--kind training has no table"),
        (["--out", "t.xlsx"], "png, svg, pdf, eps, pgf, or a table in tex, md, csv"),
    ],
)
def test_what_cannot_be_is_refused_and_writes_nothing(
    resdeg, tmp_path: Path, options: list[str], words: str
) -> None:
    planted(tmp_path / "s", CELLS)
    before = sorted(tmp_path.rglob("*"))
    done = resdeg("plot", "s", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_the_default_dialect_is_that_of_the_folder() -> None:
    assert Dialect.from_options(None, None) == Dialect(",", ".")
    assert Dialect.from_options("|", None) == Dialect("|", ".")


def test_a_damaged_measure_is_named(resdeg, tmp_path: Path) -> None:
    store = diagnosed(planted(tmp_path / "s", CELLS))
    first = store.run(store.run_ids()[0])
    (first.folder / "diagnostics.jsonl").write_text("{no json\n{}\n")
    done = resdeg("plot", "s", "--kind", "identity", "--out", "t.md")
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stderr
    assert str(tmp_path) not in (tmp_path / "t.md").read_text()
