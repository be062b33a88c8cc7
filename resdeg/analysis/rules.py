"""The registered rules of the claims: margins and contrasts are read from rules.toml only."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

Schedule = Literal["full", "short"]
DEPTHS = ("d", "d1", "dk")


class Term(NamedTuple):
    """One accuracy of a contrast, and its weight.

    network: plain, residual, identity or orthogonal. depth: one of DEPTHS. metric: test, train or recomputed.
    """

    weight: float
    network: str
    depth: str
    metric: str


@dataclass(frozen=True)
class PartRule:
    """A contrast of accuracies and the margin that it must exceed: a fraction, or f or -f (see Rules.margin).

    optional: the part is asked only where some network has the metric.
    """

    name: str
    terms: tuple[Term, ...]
    margin: float | str
    optional: bool


@dataclass(frozen=True)
class ClaimRule:
    """What is registered for one claim.

    asks: what a sweep must plan for the claim to be asked. effect: the rule in words.
    numbers: the table of the claim in rules.toml, for the margins and least counts of its own.
    """

    family: Literal["primary", "secondary"]
    asks: str
    effect: str
    parts: tuple[PartRule, ...]
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """The content of rules.toml; `sha256` is the digest of its bytes."""

    version: int
    date: str
    sha256: str
    levels: Mapping[str, float]
    fall: Mapping[str, float]
    claims: Mapping[str, ClaimRule]

    @property
    def least_seeds(self) -> int:
        return int(self.levels["least_seeds"])

    def margin(self, margin: float | str, schedule: Schedule) -> float:
        """Returns a margin as a number: f is what counts as a fall under this schedule."""
        if isinstance(margin, str):
            return {"f": 1, "-f": -1}[margin] * self.fall[schedule]
        return float(margin)

    def spell(self, claim: str, schedule: Schedule) -> str:
        """Returns the rule of a claim in words, with the margin that holds under this schedule."""
        return self.claims[claim].effect.format(f=f"{100 * self.fall[schedule]:g}")


def parse_rules(content: bytes) -> Rules:
    """Returns the rules in the bytes of such a file."""
    tree = tomllib.loads(content.decode())
    claims = {name: _claim(table) for name, table in tree.items() if re.fullmatch(r"C\d+", name)}
    digest = hashlib.sha256(content).hexdigest()
    return Rules(tree["version"], tree["date"], digest, tree["levels"], tree["fall"], claims)


def _claim(table: dict[str, Any]) -> ClaimRule:
    parts = tuple(
        PartRule(
            part["name"],
            tuple(_term(text, float(weight)) for text, weight in part["contrast"].items()),
            part["margin"],
            part.get("optional", False),
        )
        for part in table.get("parts", ())
    )
    return ClaimRule(table["family"], table["asks"], table["effect"], parts, table)


def _term(text: str, weight: float) -> Term:
    match = re.fullmatch(r"(\w+)\((\w+)\)(?:\.(\w+))?", text)
    assert match, text
    assert match[2] in DEPTHS, text
    return Term(weight, match[1], match[2], match[3] or "test")


@cache
def registered_rules() -> Rules:
    """Returns the rules that come with this package."""
    return parse_rules(resources.files("resdeg.analysis").joinpath("rules.toml").read_bytes())
