"""What a sweep lacks for a claim, in words: what the claim needs, what is there, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence

from resdeg.config import SweepConfig


class NotAsked(Exception):  # noqa: N818 - nobody made an error
    """The sweep lacks what the claim needs; `what` continues "It needs", and its last sentence is open."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class NotPlanned(NotAsked):
    """The configuration of the sweep lacks what the claim needs, whatever came out."""


def advise(config: SweepConfig, advice: str) -> str:
    """Returns a further sentence that says how to train what is missing; empty for adopted weights."""
    return "" if config.adopted is not None else f". {advice}"


def advise_settings(config: SweepConfig, *settings: str, anew: bool = False, trains: str = "them") -> str:
    """Returns a further sentence that says which settings train what is missing; empty for adopted weights.

    Args:
        settings: as `--set` takes them. anew: whether a larger grid of this sweep would not do.
        trains: what these settings train.
    """
    command = "A new sweep" if anew else "The same command"
    options = " ".join(f"--set {setting}" for setting in settings)
    return advise(config, f"{command} with {options} trains {trains}")


def describe_families(config: SweepConfig) -> str:
    """Says which family the sweep has, where it lacks the other one."""
    return f"this sweep has {config.families[0]} networks only" + advise(
        config, "Without --families it trains both families"
    )


def describe_depths(config: SweepConfig, depths: Sequence[int], *, shares: bool = False) -> str:
    """Says which depths with a block a sweep plans, or which it and some arms share.

    Args:
        depths: rising. shares: whether arms have to have them, too.
    """
    where = "this sweep and these arms share" if shares else "this sweep plans"
    words = join_numbers(depths)
    if not depths:
        there = f"{where} no depth with a block (depth 2 has none)"
    elif len(depths) == 1:
        there = f"the only depth with a block that {where} is {words}"
    else:
        there = f"the depths with a block that {where} are {words}"
    return there + advise(config, "For example, --depths 8,20,56 trains such networks")


def describe_seeds(config: SweepConfig, least: int, *, needed: str, count: int) -> str:
    """Says that a claim needs `least` seeds and how many there are.

    Args:
        needed: what these seeds must have done. count: how many seeds have.
    """
    there = {0: "there are none", 1: "there is 1"}.get(count, f"there are {count}")
    planned = len(config.seeds) >= least
    more = "" if planned else advise(config, f"The same command with --seeds 0-{least - 1} trains them")
    return f"{least} seeds {needed}; {there}{more}"


def describe_probes(depth: int, images: int, *, measured: int) -> str:
    """Says that C6 needs probes on all test images, and on how many they were measured; 0 where on none."""
    there = f"they were measured on {measured:,}" if measured else "there are none"
    command = f"`resdeg diagnose --kinds probes --images {images}` measures them"
    return f"probes behind the blocks of plain-{depth} on all {images:,} test images; {there}. {command}"


def join_numbers(numbers: Sequence[int]) -> str:
    """Joins numbers as a sentence does.

    >>> join_numbers([8, 20, 56])
    '8, 20 and 56'
    """
    *most, last = map(str, numbers or ("none",))
    return f"{', '.join(most)} and {last}" if most else last
