"""The house's rules, each shown to be able to fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "resdeg"
HEAVY = ("torch", "pandas", "matplotlib", "scipy")


def offences(folder: Path, pattern: str, allowed: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if re.search(pattern, line) and path.name not in allowed:
                found.append(f"{path.name}:{number}: {line.strip()}")
    return found


DEPTH = r"\bdepth\b(?! and family| alike)"
WRITES = r"\.write_(text|bytes)\(|open\([^)]*['\"][wax]b?\+?['\"]|os\.(replace|unlink|mkdir|rename|remove)\("
UNSAFE = (
    r"pickle\.load|(?<!safetensors\.)torch\.(load|save)\(|extractall|shell=True|\beval\(|\bexec\(|except:\s*$"
)
PICKLE = r"^\s*(import|from) (pickle|_pickle|marshal|shelve|dill|joblib|cloudpickle)\b"
GLOBAL_RANDOM = r"manual_seed\((?!derive)|np\.random\.(seed|rand|permutation|shuffle)|^import random"


def test_training_does_not_know_the_depth() -> None:
    assert offences(PACKAGE / "training", DEPTH, allowed=("__init__.py",)) == []
    code = [line for line in (PACKAGE / "config" / "recipes.py").read_text().splitlines() if "#" not in line]
    assert not any(re.search(r"depth\s*[=<>:]|\[.depth", line) for line in code)


def test_only_one_module_writes_persistent_files() -> None:
    assert offences(PACKAGE, WRITES, allowed=("files.py",)) == []


def test_nothing_unsafe_is_called() -> None:
    # `.eval()` of a module and `model.eval()` are torch's modes, not Python's eval.
    found = [line for line in offences(PACKAGE, UNSAFE) if ".eval(" not in line]
    # The one module that reads files of weights from elsewhere, by torch's unpickler for weights alone.
    assert [re.sub(r":\d+:", ":", line) for line in found] == [
        'weights_file.py: loaded: object = torch.load(buffer, map_location="cpu", weights_only=True)',
        "weights_file.py: torch.save(plain, buffer)",
    ]


def test_only_the_allow_list_unpickler_knows_pickle() -> None:
    assert offences(PACKAGE, PICKLE, allowed=("unpickle.py",)) == []


def test_no_global_generator() -> None:
    assert offences(PACKAGE, GLOBAL_RANDOM) == []


@pytest.mark.parametrize(
    ("pattern", "planted"),
    [
        (DEPTH, "if depth == 110: lr = 0.01"),
        (WRITES, "Path('x').write_text('y')"),
        (WRITES, "open(path, 'wb')"),
        *[
            (UNSAFE, line)
            for line in (
                "torch.load(path)",
                "pickle.load(f)",
                "tar.extractall(to)",
                "run(x, shell=True)",
                "eval(x)",
            )
        ],
        (UNSAFE, "except:"),
        (PICKLE, "import pickle"),
        (GLOBAL_RANDOM, "torch.manual_seed(0)"),
    ],
)
def test_the_rules_see_a_planted_line(tmp_path: Path, pattern: str, planted: str) -> None:
    (tmp_path / "a.py").write_text(f"x = 1\n{planted}\n")
    assert offences(tmp_path, pattern) == [f"a.py:2: {planted}"]


def imported_by(*arguments: str, extra: str = "") -> set[str]:
    script = (
        f"import sys; sys.argv = ['resdeg', *{list(arguments)!r}]\n{extra}\n"
        "from resdeg.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("sweep", "--help"), ("plot", "--help")])
def test_help_and_version_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments).isdisjoint(HEAVY)


def test_the_light_import_test_can_fail() -> None:
    assert "scipy" in imported_by("--version", extra="import scipy")


def test_no_file_is_long_and_every_file_says_what_is_in_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert text.startswith('"""'), f"{path} opens with one sentence"
        limit = 330
        assert len(text.splitlines()) <= limit, f"{path} has become more than one thing"
