"""The list of `make mutants` names lines that are there."""

from __future__ import annotations

import pytest

from tests.trust.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_safety_line_stands_once(mutant: Mutant) -> None:
    assert (ROOT / "resdeg" / mutant.file).read_text().count(mutant.line) == 1
    assert mutant.instead != mutant.line
    assert (ROOT / mutant.tests).is_file()
