"""Bytes that changed on the disk: never let in, the other generation used and named, the run finished."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resdeg.store import RunStore
from tests.planted import planted
from tests.trust import faults, scripted
from tests.trust.more import MORE

pytestmark = pytest.mark.slow

FLIPS, CUTS = 1_000 * MORE, 200 * MORE
PARTS = ("header", "tensors", "manifest")


@pytest.fixture(autouse=True)
def _no_syncs() -> Iterator[None]:
    """Nothing here is about power; without the waits a thousand recoveries take seconds."""

    def act(number: int, name: str, original: Any, arguments: tuple[Any, ...]) -> Any:
        return None if name == "fsync" else original(*arguments)

    with faults.Operations(act):
        yield


@pytest.fixture
def stopped(tmp_path: Path, tiny_run):
    """A run with two generations, of epochs 1 and 2 of three; the signature that it must end with."""
    config = tiny_run()
    whole, store = (RunStore(tmp_path / name / config.run_id) for name in ("whole", "stopped"))
    scripted.train(whole, config)
    scripted.train(store, config, until=2)
    return store, config, scripted.signature(whole)


def newest(store: RunStore, part: str) -> tuple[Path, range]:
    """The file of the newest generation that holds `part`, and which of its bytes that is."""
    found = store.checkpoint()
    assert found is not None
    if part == "manifest":
        path = store.folder / "checkpoint" / "manifest.json"
        return path, range(path.stat().st_size)
    path = store.folder / "checkpoint" / found[0].file
    header = 8 + int.from_bytes(found[1][:8], "little")
    return path, range(header) if part == "header" else range(header, len(found[1]))


def check(stopped, place: Path, path: Path, content: bytes, name: str) -> None:
    """A copy of the run at `place` with `content` in its file `path`: refused, and gone on with."""
    whole, config, signature = stopped
    store = RunStore(place / whole.folder.name)
    shutil.copytree(whole.folder, store.folder)
    (store.folder / path.relative_to(whole.folder)).write_bytes(content)
    found = store.checkpoint()
    assert found is not None, name
    assert found[0].step == 1, f"{name}: the damaged generation was let in"
    notices = scripted.train(store, config)
    assert any("is damaged, trying the" in notice for notice in notices), name
    assert scripted.signature(store) == signature, name
    shutil.rmtree(place)


@pytest.mark.parametrize("part", PARTS)
def test_single_bit_flips(stopped, tmp_path: Path, part: str) -> None:
    path, places = newest(stopped[0], part)
    draw = random.Random(part)
    for number in range(-(-FLIPS // len(PARTS))):
        place, bit = draw.choice(places), draw.randrange(8)
        content = bytearray(path.read_bytes())
        content[place] ^= 1 << bit
        check(stopped, tmp_path / f"{number}", path, content, f"{path.name} byte {place} bit {bit}")


@pytest.mark.parametrize("part", PARTS)
def test_truncations(stopped, tmp_path: Path, part: str) -> None:
    path, places = newest(stopped[0], part)
    draw = random.Random(part)
    for number in range(-(-CUTS // len(PARTS))):
        length = 0 if not number else draw.choice(places)
        content = path.read_bytes()[:length]
        check(stopped, tmp_path / f"{number}", path, content, f"{path.name} cut to {length}")


def test_metrics_cut_at_every_byte_of_the_last_lines(stopped, tmp_path: Path) -> None:
    """A line that was torn is cut or computed again; the lines before it stand."""
    store, config, signature = stopped
    content = (store.folder / "metrics.jsonl").read_bytes()
    first = content.index(b"\n") + 1
    for length in range(first, len(content)):
        damaged = tmp_path / f"{length}" / store.folder.name
        shutil.copytree(store.folder, damaged)
        (damaged / "metrics.jsonl").write_bytes(content[:length])
        assert [record.step for record in RunStore(damaged).metrics()] == [1], length
        scripted.train(RunStore(damaged), config)
        assert scripted.signature(RunStore(damaged)) == signature, length
        shutil.rmtree(damaged)


@pytest.mark.parametrize("name", ["config.json", "summary.json", "metrics.jsonl"])
def test_a_damaged_run_hides_no_other(resdeg, tmp_path: Path, name: str) -> None:
    """A record of one run cut to half: the others stay in status, plot and report; the damage is named."""
    grid = itertools.product(("plain", "residual"), (8, 14))
    sweep = planted(tmp_path / "sweep", {cell: [0.5, 0.6] for cell in grid})
    hurt, *others = sweep.run_ids()
    victim = sweep.run(hurt).folder / name
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    status = resdeg("status", tmp_path / "sweep")
    assert status.returncode == 0, status.stderr
    assert all(run_id in status.stdout for run_id in others)
    assert hurt in status.stdout + status.stderr
    drawn = resdeg("plot", tmp_path / "sweep", "--out", tmp_path / "curve.svg")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "curve.svg").is_file()
    if name == "summary.json":  # the point is drawn from it
        assert hurt in drawn.stderr, "what was left out is said"
    reported = resdeg("report", tmp_path / "sweep")
    assert reported.returncode == 0, reported.stderr
    text = (tmp_path / "sweep" / "report.md").read_text()
    assert "| 14 | 55.0" in text.replace("\N{NO-BREAK SPACE}", " "), "the other depth is whole"
    assert (hurt in reported.stderr) == (hurt in text)
