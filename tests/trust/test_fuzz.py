"""Nonsense as input: exit 0 or 2, one line that says what is wrong, never a traceback, and little work."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from resdeg.config import RunConfig, SweepConfig, sweep
from resdeg.sweep import calibration
from resdeg.sweep.calibration import Calibration, Counts
from tests.trust.more import MORE

MOST_BUILT = 1_000  # runs; the greatest sweep in configs/ has fifty
FILES, ARGUMENTS, SHARDS = 2_000 * MORE, 1_000 * MORE, 2
CONFIGS = Path(__file__).parents[2] / "configs"
# What people and editors put where something else belongs.
ODD = [
    "nan", "inf", "-1", "0", "1e400", "1_000", "999999999999999999999", "true", '""', "''", "[]", "[[", "{}",
    "=", "\n", "\t", "\x00", "\ufeff", "\u0668", "é", "#", '"""', "1979-05-27", "0x10", "8,,20",
    "0-1000000000", "4-0", "../..", "$(reboot)", "\\u0000", "[training]", "depths", "lr = 0",
    "model.norm", "\x1b[31m",
]  # fmt: skip
WORDS = [
    "--depths", "--families", "--seeds", "--data", "--data-dir", "--recipe", "--epochs", "--steps", "--set",
    "--precision", "--device", "--jobs", "--offline", "--time-limit", "--out", "--wait", "--fresh", "--json",
    "8,20", "8", "plain", "residual", "0-2", "cifar10", "hierarchy", "short", "demo", "3", "auto", "fp32",
    "cpu", "training.lr=0.05", "model.norm=none", "model.width=0.5", "data.hierarchy.levels=2", "90s",
    "somewhere", "-", "--", "-h", "--dephts", "training.=", "=", "model.block=stargan", "short.toml",
    "training.lr", "1.5",
]  # fmt: skip


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The runs that a command makes of its arguments, as it makes them."""
    runs: list[RunConfig] = []

    def build(**settings: object) -> RunConfig:
        runs.append(RunConfig(**settings))
        return runs[-1]

    monkeypatch.setattr(sweep, "RunConfig", build)
    return runs


@pytest.fixture(autouse=True)
def _priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every net costs the same, so that what is valid needs neither torch nor a measurement."""
    counts = Counts(parameters=1_000, multiply_adds=1_000)

    def recall(config: SweepConfig) -> Calibration:
        return Calibration(
            device="cpu", blocks=(1, 2), stem=counts, stem_seconds=0.1, seconds=(1.0, 2.0), bytes=(1, 2),
            counts=dict.fromkeys(config.families, (counts, counts)),
        )  # fmt: skip

    monkeypatch.setattr(calibration, "recall", recall)


def check(resdeg, built: list[RunConfig], said: object, *arguments: object) -> int:
    built.clear()
    done = resdeg(*arguments)
    assert done.returncode in (0, 2), (said, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr, (said, done.stderr)
    assert done.returncode == 0 or done.stderr.strip(), said
    assert "\x1b" not in done.stderr, said
    assert len(built) < MOST_BUILT, said
    return done.returncode


def mutated(text: str, draw: random.Random) -> bytes:
    """A configuration with one to four things wrong with it."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text) + 1)
        match draw.randrange(6):
            case 0:
                text = text[:at] + draw.choice(ODD) + text[at:]
            case 1:
                text = text[:at] + text[at + draw.randint(1, 8) :]
            case 2:
                lines = text.splitlines(keepends=True)
                text = "".join(draw.sample(lines, len(lines)))
            case 3:
                text += draw.choice(text.splitlines() or [""]) + "\n"
            case 4 if " = " in text:
                lines = text.split("\n")
                k = draw.choice([i for i, line in enumerate(lines) if " = " in line])
                lines[k] = lines[k].split(" = ")[0] + " = " + draw.choice(ODD)
                text = "\n".join(lines)
            case _:
                text = text[:at] + chr(draw.randrange(1, 0x2FF)) + text[at + 1 :]
    content = text.encode()
    if not draw.randrange(20):
        spot = draw.randrange(len(content) + 1)
        content = content[:spot] + bytes([draw.randrange(128, 256)]) + content[spot:]
    return content


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_files(resdeg, built: list[RunConfig], tmp_path: Path, shard: int) -> None:
    draw = random.Random(shard)
    valid = [path.read_text() for path in sorted(CONFIGS.glob("*.toml"))]
    path = tmp_path / "fuzzed.toml"
    codes = []
    for _ in range(FILES // SHARDS):
        content = mutated(draw.choice(valid), draw)
        path.write_bytes(content)
        codes.append(check(resdeg, built, content, "sweep", path, "--dry-run"))
    assert codes.count(0) > 50 < codes.count(2), "both kinds were met"


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_arguments(resdeg, built: list[RunConfig], tmp_path: Path, shard: int) -> None:
    draw = random.Random(shard)
    (tmp_path / "short.toml").write_bytes((CONFIGS / "short.toml").read_bytes())
    codes = []
    for _ in range(ARGUMENTS // SHARDS):
        odd = [word for word in ODD if "\x00" not in word]  # no program can be given a NUL
        arguments = draw.choices([*WORDS, *odd], k=draw.randint(0, 5))
        if draw.random() < 0.6:  # an option with something behind it
            arguments += [draw.choice(WORDS[:18]), draw.choice([*WORDS[18:], *odd])]
        command = draw.choice(["sweep", "sweep", "sweep", "train"])
        codes.append(check(resdeg, built, arguments, command, "--dry-run", *arguments))
    assert codes.count(0) > 10 < codes.count(2), "both kinds were met"
