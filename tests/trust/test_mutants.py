"""The list of `make mutants` names lines that are there, and a sample of it is caught in every test run."""

from __future__ import annotations

import hashlib
import random

import pytest

from tests.trust.mutants import MUTANTS, ROOT, Mutant, survives

SAMPLE = 2  # mutants in a run of the suite: ten to thirty seconds each


def sample() -> list[Mutant]:
    """Chooses the mutants by the source of the package, so a commit always tries the same ones and the next
    change of the package others.
    """
    digest = hashlib.sha256()
    for path in sorted((ROOT / "resdeg").rglob("*.py")):
        digest.update(path.read_bytes())
    return random.Random(digest.hexdigest()).sample(MUTANTS, SAMPLE)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_safety_line_stands_once(mutant: Mutant) -> None:
    assert (ROOT / "resdeg" / mutant.file).read_text().count(mutant.line) == 1
    assert mutant.instead != mutant.line
    assert (ROOT / mutant.tests).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", sample(), ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_sample_is_caught(mutant: Mutant) -> None:
    assert not survives(mutant), f"{mutant.tests} passes without the line of '{mutant.name}'"
