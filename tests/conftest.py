"""What every test shares: an own cache, tiny runs, and the real CIFAR-10 where there is one."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch is there: small nets lose time to a second thread, and the suite has a process per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what runs in its background with Ctrl-C ignored, and tests interrupt themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import typer.main

from resdeg import files
from resdeg.cli import app
from resdeg.config import (
    ConstructedConfig,
    DataConfig,
    ExecutionConfig,
    HierarchyConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)

Resdeg = Callable[..., subprocess.CompletedProcess[str]]

_build = typer.main.get_command


@functools.cache
def _parser(of: typer.Typer, without_detection: str | None) -> object:
    return _build(of)


def parser_of(of: typer.Typer) -> object:
    """Typer builds its parser anew at every call, which takes longer than most commands do.

    It builds another one where the shell is not to be detected.
    """
    return _parser(of, os.environ.get("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"))


ON_CPU = ExecutionConfig(device="cpu")
# Eight steps an epoch on images of 8x8: a run of three epochs in about a second.
TINY = HierarchyConfig(levels=2, cell=2, symbols=6, synonyms=2, noise=16, train_images=256, test_images=60)


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or writes the user's cache or settings."""
    for name in ("RESDEG_DEVICE", "RESDEG_JOBS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESDEG_OFFLINE", "1")  # no test asks a host that is not its own
    monkeypatch.setenv("RESDEG_CACHE_DIR", str(tmp_path / "cache"))
    before = files.hear(print)
    files.hear(before)
    yield
    files.hear(before)  # a command of the test may have listened


@pytest.fixture
def notices() -> Iterator[list[str]]:
    """What `files` says of disks during the test."""
    heard = list[str]()
    before = files.hear(heard.append)
    yield heard
    files.hear(before)


@pytest.fixture
def cifar_folder() -> Path:
    """The real CIFAR-10, where RESDEG_DATA_DIR names it."""
    place = os.environ.get("RESDEG_DATA_DIR")
    if not place:
        pytest.skip("needs the real CIFAR-10: set RESDEG_DATA_DIR")
    return Path(place)


@pytest.fixture
def nets_folder() -> Path:
    """Weights that others published: where RESDEG_NETS_DIR names them, or in ../shared."""
    given = os.environ.get("RESDEG_NETS_DIR")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "published-nets"
    if not folder.is_dir():
        pytest.skip(f"needs the published weights, and {folder} is not there: set RESDEG_NETS_DIR")
    return folder


@pytest.fixture
def tiny_run() -> Callable[..., RunConfig]:
    """A run of seconds: `tiny_run(depth=8, family="plain", training={...}, model={...})`."""

    def make(
        family: str = "plain",
        depth: int = 8,
        seed: int = 0,
        training: dict[str, object] | None = None,
        model: dict[str, object] | None = None,
        data: DataConfig | None = None,
        constructed: ConstructedConfig | None = None,
    ) -> RunConfig:
        settings = {"recipe": "demo", "epochs": 3, "batch_size": 32, "pad": 2, **(training or {})}
        return RunConfig(
            family=family,
            depth=depth,
            seed=seed,
            data=data or DataConfig(name="hierarchy", hierarchy=TINY),
            model=ModelConfig(**{"width": 0.25, **(model or {})}),
            training=TrainingConfig(**settings),
            constructed=constructed,
        )

    return make


TINY_TOML = """
[data]
name = "hierarchy"
[data.hierarchy]
levels = 2
cell = 2
symbols = 6
synonyms = 2
noise = 16
train_images = 256
test_images = 60
[model]
width = 0.25
[training]
recipe = "demo"
epochs = 2
batch_size = 32
"""


@pytest.fixture
def tiny_toml(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_TOML)
    return path


@pytest.fixture
def resdeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Resdeg]:
    """The command in a folder of its own: `resdeg("sweep", "--depths", "8")`.

    In this process, so that torch, pandas and matplotlib are loaded once for all tests; what needs a
    process of its own (signals, a terminal, imports) starts one.
    """

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["resdeg", *map(str, arguments)])
        monkeypatch.setattr(typer.main, "get_command", parser_of)
        app.screen.noticed.clear()
        app.screen.__dict__.pop("rich", None)  # it holds the stderr of an earlier test
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            app.main()
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), out, err)

    yield run
    app.screen.quiet = app.screen.verbose = False
