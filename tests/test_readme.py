"""Commands of the README, docs and configurations: all parse, sweeps are priced, and a named list is run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core

from resdeg import data
from resdeg.bench import measure
from resdeg.config import SweepConfig, resolve
from resdeg.models.foreign import exported
from resdeg.models.weights_file import write_weights
from resdeg.report import panels
from resdeg.runner import published
from resdeg.sweep import conduct, preflight
from resdeg.sweep.calibration import Facts
from tests.adopt.networks import SMALL as NARROW
from tests.adopt.networks import arbitrary
from tests.data.drawn import draw_folder
from tests.data.small import PYTHON, python_files, records, tar, trusting, write_folder
from tests.served import serving

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(path for path in ROOT.glob("results/**/README.md") if "local" not in path.parts),
]
MENTIONED = "in passing: a minute"  # a command named in a sentence is run as far as its plan
COMMAND = r"(?:resdeg|make) [^`|]+"
TAKES_LONG = re.compile(r"\b(?:minutes?|min|hours?|an hour|days?)\b")
APPLIED_ELSEWHERE = "postnorm"  # docs/blocks.md adds it first: tests/test_blocks.py does
# Commands that are run for real. Others of their kind are run by the tests of their rooms.
RUN = (
    "resdeg COMMAND --help",
    "resdeg adopt a-martyn --from DIR --family residual --depth 20,56",
    "resdeg anchors --published",
    "resdeg bench",
    "resdeg config show configs/short.toml --epochs 3 --origin",
    "resdeg data fetch",
    "resdeg data import FILE",
    "resdeg data path",
    "resdeg data verify",
    "resdeg diagnose --kinds responses,identity --depths 8 --json",
    "resdeg doctor",
    "resdeg export-weights RUN --layout akamaster --out resnet20.pt",
    "resdeg plot",
    "resdeg plot --kind arms",
    "resdeg plot --kind lesions",
    "resdeg plot --out curve.csv --sep ';' --decimal ','",
    "resdeg plot --out table.tex",
    "resdeg plot --kind training --out training.svg --theme dark",
    "resdeg plot results/causes --kind lesions --arm constructed",
    'resdeg plot results/cifar10 results/first-light --overlay --labels "10 epochs,3 epochs" --out fig4.svg',
    "resdeg plot results/demo --size 3.25x2.4 --panel accuracy --out fig1.pdf",
    "resdeg plot results/demo results/demo --out both.svg",
    "resdeg report",
    "resdeg report --json",
    "resdeg status",
)


def found_in(text: str) -> list[tuple[str, str]]:
    """Each command of a page, and what its line says beside it."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        found += [tuple(line.partition("#")[::2]) for line in block.splitlines()]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found += re.findall(rf"^\| `({COMMAND})`(.*)$", rest, re.MULTILINE)
    rest = re.sub(rf"^\| `{COMMAND}`.*$", "", rest, flags=re.MULTILINE)
    found += [(command, MENTIONED) for command in re.findall(rf"`({COMMAND})`", rest)]
    return [(c, said) for c, said in found if re.match(COMMAND, c)]


@functools.cache
def commands() -> dict[str, str]:
    """Every command of the README, the docs, the results and the configurations."""
    found = [one for page in PAGES for one in found_in(page.read_text())]
    for path in sorted((ROOT / "configs").glob("*.toml")):
        text = path.read_text()
        takes = re.search(r"^# Takes: +(.*)$", text, re.MULTILINE)
        assert takes, path
        runs = re.findall(r"^# Run: +(resdeg .*)$", text, re.MULTILINE)
        found += [(command, takes[1]) for line in runs for command in line.split("&&")]
    spelt = [(re.sub(r"\s+", " ", command).strip(), said) for command, said in found]
    return dict(sorted(spelt, key=lambda one: (one[0], bool(TAKES_LONG.search(one[1])))))


def test_the_pages_show_the_main_road() -> None:
    assert len(commands()) >= 30
    assert {"make demo", "make test", "resdeg plot", "resdeg status", "resdeg data fetch"} <= set(commands())


def test_commands_are_found_wherever_they_stand() -> None:
    page = "Use `resdeg plot\n--k x`.\n```sh\nresdeg a  # 3 hours\nls\n```\n| `resdeg b` | soon |\n`resdegx`"
    assert found_in(page) == [
        ("resdeg a  ", " 3 hours"), ("resdeg b", " | soon |"), ("resdeg plot\n--k x", MENTIONED),
    ]  # fmt: skip


class Parsed(Exception):  # noqa: N818 - it is no error
    """A command line was read to its end."""


def test_the_named_commands_are_in_the_pages() -> None:
    assert set(RUN) <= set(commands())


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("resdeg")])
def test_a_command_of_the_pages_parses(
    command: str, resdeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option is known and has a value of its type; a bare name in a sentence may lack its arguments."""

    def stop(*_: object) -> None:
        raise Parsed

    monkeypatch.setattr(typer.core.TyperCommand, "invoke", stop)
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    words = [{"COMMAND": "status"}.get(word, word) for word in shlex.split(command)[1:]]
    if words in (["adopt"], ["collect"], ["config"], ["data"], ["export-weights"], ["prune"]):
        words.append("--help")
    if words == ["--install-completion"]:
        words.append("bash")
    done = resdeg(*words)
    if words[0] == "--install-completion" or words[-1] == "--help":  # these act while the line is parsed
        assert done.returncode == 0, done.stderr
    else:
        assert "Parsed" in done.stderr


def test_an_unknown_option_does_not_parse(resdeg) -> None:
    done = resdeg("plot", "--line")
    assert done.returncode == 2
    assert "Parsed" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (command, said)
        for command, said in commands().items()
        if command in RUN or re.match(r"resdeg (sweep|train)\b", command)
        if APPLIED_ELSEWHERE not in command
    ],
    ids=lambda text: text if text.startswith("resdeg") else "",
)
def test_a_command_of_the_pages(
    command: str, said: str, resdeg, tiny_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands; only where its line names a time above a minute, with --dry-run."""
    for name in ("configs", "results"):
        (tmp_path / name).mkdir()
        for path in (ROOT / name).iterdir():
            if path.name != "local":
                (tmp_path / name / path.name).symlink_to(path)
    (tmp_path / "sweep.toml").write_text(tiny_toml.read_text())
    for name in ("I", "SLURM_CPUS_PER_TASK"):  # of a job, see docs/cluster.md
        monkeypatch.setenv(name, "2")
    if "folder:DIR" in command:
        draw_folder(tmp_path / "DIR", counts={"train": 50, "test": 2})
    arguments = [
        os.path.expandvars({"FILE": "given.tgz", "COMMAND": "status"}.get(word, word))
        for word in shlex.split(command)[1:]
    ]
    if arguments[0] in ("sweep", "train") and "--dry-run" not in arguments and TAKES_LONG.search(said):
        arguments.append("--dry-run")
    elif arguments[0] == "bench":
        arguments += ["--quick", "--pairs", "1", "--steps", "1", "--depths", "8"]
        monkeypatch.setattr(measure, "WARM_UP", 1)
    elif arguments[-1] == "--help":
        pass
    elif arguments[0] == "diagnose" or {*panels.PAGES} & set(arguments):
        snapshots = ["--set", "execution.snapshots=1"]
        made = resdeg("sweep", tiny_toml, "--depths", "8", "--seeds", "0", *snapshots)
        assert made.returncode == 0, made.stderr
        if arguments[0] == "plot":
            measured = resdeg(
                "diagnose", "--kinds", panels.PAGES[arguments[arguments.index("--kind") + 1]].kind
            )
            assert measured.returncode == 0, measured.stderr
    elif arguments[0] in ("plot", "status", "report") and not any(
        word.startswith("results/") for word in arguments
    ):
        norm = "instance" if "--evaluation" in arguments else "batch"
        settings = ["--set", f"model.norm={norm}"]
        settings += ["--set", "arms.wide.model.width=2.0"] if "arms" in arguments else []
        made = resdeg("sweep", tiny_toml, "--depths", "2", "--seeds", "0", *settings)
        assert made.returncode == 0, made.stderr
    elif arguments[0] == "plot":
        arguments += [] if "--out" in arguments else ["--out", "drawn.svg"]
    if "--dry-run" in arguments:  # checked as ever, and nothing is measured: of a deep net that takes long
        monkeypatch.setattr(conduct, "price_sweep", functools.partial(conduct.price_sweep, ask=check_only))
    needs_cifar = arguments[0] in ("data", "adopt", "export-weights")
    with little_cifar(monkeypatch, tmp_path) if needs_cifar else contextlib.nullcontext():
        if arguments[0] in ("adopt", "export-weights"):
            arguments = with_little_networks(arguments, monkeypatch, tmp_path, resdeg)
        done = resdeg(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if arguments[0] == "bench":
        assert re.search(r"engine fp32 +[0-9]+ +[0-9]+ +[0-9.]+  [0-9.]+ to", done.stdout)


def check_only(config: SweepConfig, *, read_data: bool) -> Facts:
    """The check before a sweep, in this process and with made-up times."""
    return preflight.preflight(
        config, read_data=read_data, probe=lambda run, *_, **__: (run.depth / 1000, 10**8)
    )


def with_little_networks(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path, resdeg
) -> list[str]:
    """A command on narrow networks in the place of the published files, FILE and RUN."""
    nets = folder / "nets"
    for name, source in published.PUBLISHED.items():
        files = []
        for file in source.files:
            path = nets / name / file.name
            write_weights(path, exported(arbitrary(file.family, file.depth), file.family, NARROW, name))
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            files.append(dataclasses.replace(file, bytes=len(content), sha256=digest))
        monkeypatch.setitem(published.PUBLISHED, name, dataclasses.replace(source, files=tuple(files)))
    if arguments[0] == "export-weights":
        adopted = resdeg("adopt", "akamaster", "--from", nets, "--depth", "20")
        assert adopted.returncode == 0, adopted.stderr
        (run,) = (folder / "results" / "local" / "adopted-akamaster" / "runs").iterdir()
        return [str(run) if word == "RUN" else word for word in arguments]
    names = {"DIR": str(nets), "given.tgz": str(nets / "a-martyn" / "plainnet56.pt")}
    arguments = [names.get(word, word) for word in arguments]
    return arguments if {"--from", names["given.tgz"]} & {*arguments} else [*arguments, "--from", str(nets)]


@contextlib.contextmanager
def little_cifar(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """A little CIFAR-10 on a server of this machine, in a file, and where RESDEG_DATA_DIR points."""
    content = python_files(records())
    archive = tar(content, PYTHON.folder)
    (folder / "given.tgz").write_bytes(archive)
    write_folder(folder / PYTHON.folder, content)
    with serving(**{PYTHON.archive: lambda handler: handler.wfile.write(handler.rest(archive))}) as server:
        distribution = trusting(archive, PYTHON, urls=(server.url(f"/{PYTHON.archive}"),))
        monkeypatch.setitem(data.DATASETS, "cifar10", data.Source.from_distribution(distribution))
        monkeypatch.setenv("RESDEG_OFFLINE", "")
        monkeypatch.setenv("RESDEG_DATA_DIR", str(folder))
        yield


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make")])
def test_a_make_target_of_the_readme(command: str) -> None:
    """That it is there and what it would run; the suite runs under `make test` itself."""
    done = subprocess.run(
        [*shlex.split(command), "--dry-run", "--always-make"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ".venv/bin/" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_a_configuration_opens_with_what_to_expect(path: Path) -> None:
    text = path.read_text()
    for word in ("# Shows:", "# Takes:", "# Expect:", "# Run:"):
        assert word in text
    assert isinstance(resolve(path, {}, [], {}), SweepConfig)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_tests_that_the_page_on_reliability_names_are_there() -> None:
    for name in re.findall(r"`([\w/]*test_\w+\.py)`", (ROOT / "docs" / "reliability.md").read_text()):
        assert list(ROOT.glob(name if "/" in name else f"tests/**/{name}")), name


def run_python_of(page: Path, blocks: int) -> dict[str, object]:
    """Run the code blocks of a page, at least so many, one after another; return the names they leave."""
    code = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(code) >= blocks
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, str(page), "exec"), names)
    return names


def test_the_python_page_runs(resdeg, tiny_toml: Path, tmp_path: Path, capfd) -> None:
    """Its code blocks, one after another, as a reader would type them."""
    made = resdeg(
        "sweep", tiny_toml, "--depths", "2,8", "--seeds", "0,1", "--out", "results/local/demo",
        "--set", "arms.wide.model.width=2.0", "--set", "arms.wide.depths=[2]",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert resdeg("diagnose", "--kinds", "identity", "--images", "40").returncode == 0
    names = run_python_of(ROOT / "docs" / "python.md", 7)
    assert names["logits"].shape == (8, 10)
    assert {*names["branch"]["state"]} == {"initial", "final"}
    out = capfd.readouterr().out
    assert "test_accuracy" in out
    assert re.search(r"^residual +8 +final +[0-9.]+$", out, re.MULTILINE)
    assert re.search(r"^plain-d8-s0-[0-9a-f]+ finished$", out, re.MULTILINE)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_python_of(ROOT / "README.md", 1)
    assert "test_accuracy" in capfd.readouterr().out
    assert (tmp_path / "results" / "local" / "first" / "sweep.toml").is_file()
