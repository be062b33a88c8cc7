"""docs/method.md: it has the registered rules, and its example is computed again from its own numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from resdeg.analysis.claims import CLAIMS
from resdeg.analysis.effects import Joint, Part, Sample
from resdeg.analysis.judge import RULE, Verdict, reach_verdict
from resdeg.analysis.rules import registered_rules

PAGE = (Path(__file__).parents[1] / "docs" / "method.md").read_text()
RULES = registered_rules()
IMAGES, SEEDS = 10_000, 7
ERROR = 0.05 / 2 / 2  # one-sided, of Holm's first share among two claims
MARGINS = {"rise": 1.0, "fall": 100 * RULES.fall["short"]}
NUMBER = r"(\d[\d.]*(?:e-\d+)?(?<!\.))"


def one_line(text: str) -> str:
    return " ".join(re.sub(r"^> ", "", text, flags=re.MULTILINE).split())


def example() -> str:
    return one_line(PAGE.split("#### An example by hand")[1].split("\n#### ")[0])


def said(words: str) -> list[str]:
    """The numbers that the example has where these words have #."""
    found = re.findall(re.escape(words).replace(r"\#", NUMBER), example())
    assert len(found) == 1, words
    return [*found[0]] if isinstance(found[0], tuple) else found


def agree(words: str, *numbers: float) -> None:
    """The numbers of the example are these, to the digits that it gives."""
    for text, number in zip(said(words), numbers, strict=True):
        digits, e, _ = text.partition("e")
        decimals = len(digits.partition(".")[2])
        assert text.replace("e-0", "e-") == f"{number:.{decimals}{e or 'f'}}".replace("e-0", "e-"), words


def seeds(part: str) -> np.ndarray:
    """The row of the example's table, in points."""
    row = re.search(rf"^\| {part} from depth .*?\|(.*)\|$", PAGE, re.MULTILINE)
    assert row
    return np.array([float(number) for number in row[1].split("|")])


def binomial(part: str) -> float:
    """The binomial standard error of the example's contrast, in points."""
    shallow, middle = map(float, said("Depth 8 is at # % and depth 20 at # %,"))
    assert middle - shallow == pytest.approx(seeds("rise").mean())
    ends = {"rise": (shallow, middle), "fall": (middle, middle - seeds("fall").mean())}
    images = IMAGES * SEEDS
    shares = [(accuracy / 100 * images + 1) / (images + 2) for accuracy in ends[part]]
    return 100 * float(np.sqrt(sum(share * (1 - share) / images for share in shares)))


def student(part: str) -> tuple[float, float, float, float, float]:
    """Mean, deviation, standard error, t and its p."""
    numbers = seeds(part)
    deviation = float(numbers.std(ddof=1))
    error = deviation / SEEDS**0.5
    t = (float(numbers.mean()) - MARGINS[part]) / error
    return float(numbers.mean()), deviation, error, t, float(scipy.stats.t.sf(t, SEEDS - 1))


QUANTILE = float(scipy.stats.t.ppf(1 - ERROR, SEEDS - 1))
Z = float(scipy.stats.norm.ppf(1 - ERROR))


@pytest.mark.parametrize("name", CLAIMS)
def test_the_page_has_each_registered_rule_word_for_word(name: str) -> None:
    rule = re.sub(r" = -?\{f\} points", "", RULES.claims[name].effect)
    _, found, after = one_line(PAGE).partition(f"**{name}, {CLAIMS[name].title}.**")
    assert found
    assert f"Rule: *{rule}*" in after.split(" **C")[0]


def test_the_page_has_the_rule_and_the_levels() -> None:
    page, levels, fall = one_line(PAGE), RULES.levels, RULES.fall
    assert RULE in page
    short, full = (f"{100 * fall[schedule]:g} point" for schedule in ("short", "full"))
    assert f"*f*: {short}s under a short schedule, and {full}" in page
    assert fall["full_images"] == 64_000 * 128
    assert f"with fewer than {RULES.least_seeds} such seeds nothing is decided" in page
    assert f"a two-sided error of {100 * levels['family']:g} % is shared" in page
    assert f"a one-sided error of {100 * levels['peak']:g} % shared" in page
    assert page.count(f"chance + {levels['alive']} (1 - chance)") == 2
    assert f"{100 * (0.1 + levels['alive'] * 0.9):.1f} % with ten classes" in page
    bounds = [f"{100 * (1 - levels['collapse'] ** (1 / seeds)):.0f} %" for seeds in (3, 5, 7)]
    assert "{} with three seeds, {} with five and {} with seven".format(*bounds) in page
    assert f"one point is {0.01 / np.sqrt(2 * 0.8 * 0.2 / IMAGES):.1f} standard errors" in page


def test_the_rise_of_the_example() -> None:
    mean, deviation, error, t, p = student("rise")
    bound = mean - QUANTILE * error
    agree("*The rise.* The mean is # and the deviation #,", mean, deviation)
    agree("the standard error is # / √# = #.", deviation, SEEDS, error)
    agree("on # degrees of freedom that leaves .0125 on one side is #.", SEEDS - 1, QUANTILE)
    agree("The lower bound is # - # · # = # points,", mean, QUANTILE, error, bound)
    agree("which is # above the margin of # point.", bound - MARGINS["rise"], MARGINS["rise"])
    agree("t = (# - 1) / # = #, and its p is #.", mean, error, t, p)


def test_the_binomial_test_of_the_example() -> None:
    mean, _, error, _, p = student("rise")
    of_images = binomial("rise")
    z = (mean - MARGINS["rise"]) / of_images
    assert float(scipy.stats.norm.sf(z)) < p
    assert f"each of {SEEDS * IMAGES:,} answers, {SEEDS} seeds of {IMAGES:,} images" in example()
    agree("of the difference is # points, and z =", of_images)
    agree("z = (# - 1) / # = # with a p of #.", mean, of_images, z, scipy.stats.norm.sf(z))
    agree("The larger p is Student's, #.", p)
    agree("The reach of the bound, # by Student's t, would be # by", QUANTILE * error, Z * of_images)
    agree("risen by exactly # points,", mean)
    agree("the binomial one, #, and the lower bound # points", scipy.stats.norm.sf(z), mean - Z * of_images)


def test_the_fall_of_the_example() -> None:
    mean, deviation, error, t, p = student("fall")
    bound = mean - QUANTILE * error
    agree("The mean is #, the deviation #, the standard error # and", mean, deviation, error)
    agree("t = (# - 2) / # = #, with a p of #.", mean, error, t, p)
    agree("The lower bound is # points, # above the margin f", bound, bound - MARGINS["fall"])
    assert scipy.stats.norm.sf((mean - MARGINS["fall"]) / binomial("fall")) < p
    assert Z * binomial("fall") < QUANTILE * error


def test_the_package_gives_the_verdict_of_the_example() -> None:
    parts = []
    for name, margin in MARGINS.items():
        sample = Sample(dict(enumerate(seeds(name) / 100)), binomial(name) / 100)
        parts.append(Part(name, sample, margin / 100, frozenset(range(SEEDS))))
    joint = Joint(tuple(parts))
    assert reach_verdict(joint, 2 * ERROR) is Verdict.SUPPORTED
    agree("The p of C1 is the larger one of its two parts, #.", joint.p_above())
    low, high = (100 * end for end in (joint.lower(ERROR), joint.upper(ERROR)))
    agree("beyond the margins by +# to +# (# % interval),", low, high, 100 * (1 - 2 * ERROR))
    agree("in # of # seeds, smallest +#.", SEEDS, SEEDS, seeds("rise").min())
    agree("the quantile is #, so", scipy.stats.t.ppf(1 - ERROR / 2, SEEDS - 1))
    agree("the excess of the rise is at most #.", high)
    assert all((seeds(name) > margin).all() for name, margin in MARGINS.items())
