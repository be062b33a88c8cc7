"""How steady the demo's verdicts are: `python -m tests.steadiness` writes results/demo/steadiness.csv.

Networks of 25 seeds that had no part in the choice of the demo were trained once, on its grammar and on two
others; fresh-runs.csv holds them. Any seven of the seeds might have been a user's demo, and the share of each
verdict among them is counted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import judge_family
from resdeg.analysis.rules import registered_rules
from resdeg.config import resolve
from resdeg.config.settings import Registration

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "results" / "demo"
CLAIMS = ("C1", "C2", "C3", "C4")
DRAWS = 1_000


def count_verdicts(draws: int) -> pd.DataFrame:
    """Counts verdicts over draws of as many seeds as the demo has: columns grammar, claim, verdict, share."""
    runs = pd.read_csv(FOLDER / "fresh-runs.csv")
    tables = [
        _count_of_grammar(own, draws).assign(grammar=grammar) for grammar, own in runs.groupby("grammar")
    ]
    return pd.concat(tables, ignore_index=True)[["grammar", "claim", "verdict", "share"]]


def _count_of_grammar(runs: pd.DataFrame, draws: int) -> pd.DataFrame:
    config, rules = resolve(ROOT / "configs" / "demo.toml", {}, [], {}), registered_rules()
    registration = Registration(
        version=rules.version, date=rules.date, sha256=rules.sha256,
        seeds=len(config.seeds), depth=config.claims.depth,
    )  # fmt: skip
    fresh = sorted(set(runs["seed"]))
    assert not {*fresh} & {*config.seeds}
    generator = np.random.Generator(np.random.Philox(key=0))
    counts: dict[str, Counter[str]] = {claim: Counter() for claim in CLAIMS}
    for _ in range(draws):
        drawn = tuple(sorted(map(int, generator.choice(fresh, len(config.seeds), replace=False))))
        subset = runs[runs["seed"].isin(drawn)]
        planned = config.model_copy(update={"seeds": drawn, "registration": registration})
        no_metrics = pd.DataFrame(columns=["family", "depth", "seed"])
        sweep = SweepFrame(FOLDER, planned, subset, no_metrics, problems=[])
        for claim, judged in judge_family(Evidence(sweep), "primary").items():
            counts[claim]["NOT ASKED" if isinstance(judged, str) else judged.verdict] += 1
    return pd.DataFrame(
        [
            (claim, str(said), count / draws)
            for claim in CLAIMS
            for said, count in counts[claim].most_common()
        ],
        columns=["claim", "verdict", "share"],
    )


if __name__ == "__main__":
    table = count_verdicts(DRAWS)
    table.to_csv(FOLDER / "steadiness.csv", index=False)
    print(table.to_string(index=False))
