"""Weights of these networks under the names of other programs, recognised by names and shapes and mapped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from resdeg.config import Family, ModelConfig
from resdeg.config.grammar import DEEPEST
from resdeg.errors import DataError, UsageError
from resdeg.models.network import LAYOUTS, CifarNet, build_model

Padding = Literal["behind", "around"]


@dataclass(frozen=True)
class Layout:
    """The names of a program for the parts of such a network.

    block: makes the name of a block from its stage and its position there, both from 0.
    position: a pattern that reads the position from a name of the first stage.
    norm: the name of a block's norms, before their number.
    shortcut: the name of option B's convolution and norm; None if the program has no option B.
    padding: where its option A puts the new channels; None if programs of these names do either.
    """

    title: str
    stem: str
    stem_norm: str
    head: str
    block: Callable[[int, int], str]
    position: str
    norm: str
    shortcut: str | None
    padding: Padding | None

    def name(self, own: str) -> str:
        """Translates `own`, a name of resdeg such as "stages.0.2.norm1.weight"."""
        part, _, rest = own.partition(".")
        top = {"stem": self.stem, "stem_norm": self.stem_norm, "head": self.head}
        if part in top:
            return f"{top[part]}.{rest}"
        stage, position, inner, rest = rest.split(".", 3)
        if inner == "shortcut":
            inner = str(self.shortcut)
        inner = inner.replace("norm", self.norm)
        return f"{self.block(int(stage), int(position))}.{inner}.{rest}"


def _stack(stage: int, position: int) -> str:
    if stage == 0:
        return f"stack1.{position}"
    return f"stack{stage + 1}a" if position == 0 else f"stack{stage + 1}b.{position - 1}"


_TORCHVISION = Layout(
    "torchvision's", "conv1", "bn1", "fc", lambda stage, position: f"layer{stage + 1}.{position}",
    r"layer1\.([0-9]+)\.", "bn", "downsample", None,
)  # fmt: skip
NAMED: dict[str, Layout] = {
    "torchvision": _TORCHVISION,
    "akamaster": replace(
        _TORCHVISION, title="akamaster's", head="linear", shortcut="shortcut", padding="around"
    ),
    "a-martyn": Layout(
        "a-martyn's", "convIn", "bnIn", "fcOut", _stack, r"stack1\.([0-9]+)\.", "bn", None, "behind"
    ),
}
_OWN = Layout(
    "resdeg's", "stem", "stem_norm", "head", lambda stage, position: f"stages.{stage}.{position}",
    r"stages\.0\.([0-9]+)\.", "norm", "shortcut", "behind",
)  # fmt: skip
RECOGNISED = {**NAMED, "resdeg": _OWN}


@dataclass(frozen=True)
class Recognised:
    """A network that was recognised by names and shapes; `model` has its weights, in evaluation mode."""

    layout: str
    family: Family
    depth: int
    config: ModelConfig
    classes: int
    padding: Padding | None
    model: CifarNet


def recognise(
    where: str,
    named: Mapping[str, Tensor],
    family: Family | None = None,
    *,
    depth: int | None = None,
    padding: Padding | None = None,
) -> Recognised:
    """Recognises the network of the tensors in `named`.

    Args:
        where: the file, for messages.
        family: must be given unless the names show it, and only those of option B do.
        depth: the depth that the network must have; None accepts the depth that it has.
        padding: where option A puts its new channels; must be given unless the layout fixes it.

    Raises:
        UsageError: the family or the padding must be given.
        DataError: the tensors are no such network; the message has the first name or shape that differs.
    """
    named = {name: value for name, value in named.items() if not name.endswith(".num_batches_tracked")}
    key, layout = _recognise_layout(where, named)
    projects = any(f".{layout.shortcut}." in name for name in named)
    if family is None and not projects:
        raise UsageError(
            f"{where}: the names do not tell a plain network from a residual one",
            "give --family plain or residual",
        )
    family = family or "residual"
    if depth is None:
        positions = {int(m[1]) for name in named if (m := re.match(layout.position, name))}
        depth = 6 * (max(positions, default=-1) + 1) + 2
        if depth > DEEPEST:
            raise DataError(f"{where}: names a block {max(positions)}, deeper than any network here")
    stem, head = named[f"{layout.stem}.weight"], named[f"{layout.head}.weight"]
    config = ModelConfig(
        shortcut="projection" if projects and family == "residual" else "identity",
        width=min(max(stem.shape[0] / LAYOUTS["staged"][0] if stem.dim() else 1.0, 1 / 16), 64.0),
    )
    classes = max(1, head.shape[0]) if head.dim() else 1
    pads = family == "residual" and config.shortcut == "identity" and depth > 2
    if pads and padding is None:
        padding = layout.padding
        if padding is None:
            raise UsageError(
                f"{where}: the names do not tell where option A puts its new channels",
                "give --padding behind (after the old ones) or --padding around (a quarter on either side)",
            )
    model = build_model(family, depth, 0, config, classes=classes).eval()
    title = f"{family}-{depth} in {layout.title} layout"
    own = model.state_dict()
    _check_names(named, {layout.name(name): value for name, value in own.items()}, where=where, title=title)
    theirs = {name: named[layout.name(name)].float() for name in own}
    if pads and padding == "around":
        theirs = _reorder_channels(where, theirs, config)
    with torch.no_grad():
        for name, value in own.items():  # load_state_dict would add the counters that these norms leave out
            value.copy_(theirs[name])
    return Recognised(key, family, depth, config, classes, padding if pads else None, model)


def _recognise_layout(where: str, named: Mapping[str, Tensor]) -> tuple[str, Layout]:
    for key, layout in RECOGNISED.items():
        if {f"{layout.stem}.weight", f"{layout.head}.weight"} <= named.keys():
            for shortcut in ("shortcut", "downsample"):  # files mix either with the other names of a program
                if layout.shortcut and any(f".{shortcut}." in name for name in named):
                    return key, replace(layout, shortcut=shortcut)
            return key, layout
    known = ", ".join(
        f"{each.stem}.weight with {each.head}.weight ({key})" for key, each in RECOGNISED.items()
    )
    raise DataError(
        f"{where}: its layout is not known; its first name is {str(next(iter(named), 'absent'))[:60]}",
        f"known layouts have {known}",
    )


def _check_names(
    named: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, where: str, title: str
) -> None:
    """Checks that names and shapes are those expected, in the order of the network."""
    for name, value in expected.items():
        if name not in named:
            raise DataError(f"{where} is not {title}: {name} is missing")
        given = named[name]
        if given.shape != value.shape:
            raise DataError(f"{where} is not {title}: {name} is {_spell(given)}, expected {_spell(value)}")
        if given.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise DataError(f"{where} is not {title}: {name} is of {given.dtype}, expected torch.float32")
        if not bool(given.isfinite().all()):
            raise DataError(f"{where} is not {title}: {name} holds a number that is not finite")
    for name in named:
        if name not in expected:
            raise DataError(f"{where} is not {title}: {name[:80]} is in it and does not belong there")


def _spell(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "one number"


def exported(model: CifarNet, family: Family, config: ModelConfig, layout: str) -> dict[str, Tensor]:
    """Returns the weights of `model` under the names of `layout`, with channels in its padding's order.

    Raises:
        UsageError: `layout` has no names for such a network.
    """
    target, usual = NAMED[layout], ModelConfig()
    for name, value in config:
        if name not in ("width", "init", "dirac", "last_scale", "shortcut") and value != getattr(usual, name):
            raise UsageError(
                f"{target.title} layout has no model.{name} = {value}", "its networks are He et al.'s"
            )
    own = model.state_dict()
    if any(".shortcut." in name for name in own) and target.shortcut is None:
        raise UsageError(f"{target.title} layout has no option B", "give --layout torchvision or akamaster")
    pads = family == "residual" and config.shortcut == "identity" and len(model.stages) > 0
    if pads and target.padding == "around":
        own = _reorder_channels(layout, own, config, back=True)
    return {target.name(name): value for name, value in own.items()}


def _reorder_channels(
    where: str, named: Mapping[str, Tensor], config: ModelConfig, *, back: bool = False
) -> dict[str, Tensor]:
    """Reorders the channels of weights for a padding around the old ones to those for one behind, or `back`.

    A block's middle channels need no order. Those that are added to a shortcut have the order of their stage.
    """
    orders = [order.argsort() if back else order for order in _orders(where, config)]
    moved = dict(named)
    for name, value in named.items():
        part, _, rest = name.partition(".")
        if part == "head" and rest == "weight":
            moved[name] = value[:, orders[-1]]
        if part != "stages":
            continue
        stage, position, inner, _ = rest.split(".", 3)
        leaving = orders[int(stage)]
        entering = orders[max(int(stage) - 1, 0)] if position == "0" else leaving
        if inner == "conv1":
            moved[name] = value[:, entering]
        elif inner in ("conv2", "norm2"):
            moved[name] = value[leaving]
    return {name: value.contiguous() for name, value in moved.items()}


def _orders(where: str, config: ModelConfig) -> list[Tensor]:
    """Lists, for each stage, the channels of a padding around the old ones in the order of one behind."""
    channels = [max(1, round(width * config.width)) for width in LAYOUTS[config.layout]]
    orders = [torch.arange(channels[0])]
    for before, now in pairwise(channels):
        if now != 2 * before or now % 4:
            raise DataError(
                f"{where}: {now} channels after {before} cannot be padded by a quarter on either side"
            )
        quarter, every = now // 4, torch.arange(now)
        new = every[(every < quarter) | (every >= quarter + before)]
        orders.append(torch.cat([orders[-1] + quarter, new]))
    return orders
