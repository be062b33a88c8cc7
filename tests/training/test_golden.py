"""Golden losses of every kind of network: a change of code that should move no number shows the same ones.

They are of float64, in which processors agree to far more digits than are compared. Whoever changes what a
network computes records them anew, and says so.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from resdeg import build_model
from resdeg.config import ModelConfig
from resdeg.models.block import BLOCKS
from resdeg.models.init import INITS
from resdeg.models.parts import NORMS, SHORTCUTS
from resdeg.randomness import derive

STEPS, RATE, MOMENTUM = 3, 0.05, 0.9


def losses(depth: int, family: str, seed: int = 3, **model: object) -> list[float]:
    """Training losses in nats of a few steps of SGD on one drawn batch."""
    network = build_model(family, depth, seed, ModelConfig(width=0.25, **model)).double()
    network.train()
    generator = torch.Generator().manual_seed(derive(seed, "golden"))
    images = torch.randn((12, 3, 8, 8), generator=generator, dtype=torch.float64)
    labels = torch.arange(12) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=1e-4)
    numbers = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        numbers.append(loss.item())
    return numbers


GOLDEN: dict[str, tuple[str, int, dict[str, object], list[float]]] = {
    "plain-8, block basic, norm batch": (
        "plain",
        8,
        {"block": "basic", "norm": "batch"},
        [2.63338545556, 2.22265946398, 1.8877143045],
    ),
    "residual-8, block basic, norm batch": (
        "residual",
        8,
        {"block": "basic", "norm": "batch"},
        [2.89143957681, 2.33923184421, 1.85456970487],
    ),
    "plain-8, block basic, norm instance": (
        "plain",
        8,
        {"block": "basic", "norm": "instance"},
        [2.46235726028, 2.43163534695, 2.38491224087],
    ),
    "residual-8, block basic, norm instance": (
        "residual",
        8,
        {"block": "basic", "norm": "instance"},
        [2.72179514704, 2.53488849884, 2.33085888259],
    ),
    "plain-8, block basic, norm none": (
        "plain",
        8,
        {"block": "basic", "norm": "none"},
        [2.30796585726, 2.30522618142, 2.3001405476],
    ),
    "residual-8, block basic, norm none": (
        "residual",
        8,
        {"block": "basic", "norm": "none"},
        [2.54625937314, 2.43758029094, 2.30408573229],
    ),
    "plain-8, block preact, norm batch": (
        "plain",
        8,
        {"block": "preact", "norm": "batch"},
        [2.63338545556, 2.22265946398, 1.8877143045],
    ),
    "residual-8, block preact, norm batch": (
        "residual",
        8,
        {"block": "preact", "norm": "batch"},
        [2.53313642653, 2.30124173963, 2.00487918809],
    ),
    "plain-8, block preact, norm instance": (
        "plain",
        8,
        {"block": "preact", "norm": "instance"},
        [2.46235726028, 2.43163534695, 2.38491224087],
    ),
    "residual-8, block preact, norm instance": (
        "residual",
        8,
        {"block": "preact", "norm": "instance"},
        [2.46226006723, 2.41414827484, 2.3770297313],
    ),
    "plain-8, block preact, norm none": (
        "plain",
        8,
        {"block": "preact", "norm": "none"},
        [2.30796585726, 2.30522618142, 2.3001405476],
    ),
    "residual-8, block preact, norm none": (
        "residual",
        8,
        {"block": "preact", "norm": "none"},
        [2.48462623506, 2.38073189024, 2.25093077586],
    ),
    "plain-8, block stargan, norm batch": (
        "plain",
        8,
        {"block": "stargan", "norm": "batch"},
        [2.50581396319, 2.11400783886, 1.73366042906],
    ),
    "residual-8, block stargan, norm batch": (
        "residual",
        8,
        {"block": "stargan", "norm": "batch"},
        [2.6779122582, 2.27703824648, 1.84506234353],
    ),
    "plain-8, block stargan, norm instance": (
        "plain",
        8,
        {"block": "stargan", "norm": "instance"},
        [2.47464061793, 2.4288414705, 2.40785106649],
    ),
    "residual-8, block stargan, norm instance": (
        "residual",
        8,
        {"block": "stargan", "norm": "instance"},
        [2.69594123421, 2.40787400111, 2.16989994361],
    ),
    "plain-8, block stargan, norm none": (
        "plain",
        8,
        {"block": "stargan", "norm": "none"},
        [2.40064192679, 2.35651086453, 2.30277249329],
    ),
    "residual-8, block stargan, norm none": (
        "residual",
        8,
        {"block": "stargan", "norm": "none"},
        [2.62768373312, 2.41285921443, 2.20427675185],
    ),
    "plain-14, layout isotropic": (
        "plain",
        14,
        {"layout": "isotropic"},
        [2.65989692278, 2.48509314793, 2.35406278383],
    ),
    "plain-8, activation leaky_relu": (
        "plain",
        8,
        {"activation": "leaky_relu"},
        [2.62830831555, 2.23388179099, 1.9038938525],
    ),
    "plain-8, activation gelu": (
        "plain",
        8,
        {"activation": "gelu"},
        [2.60583431572, 2.20887699618, 1.8125484526],
    ),
    "plain-8, inner_activation none": (
        "plain",
        8,
        {"inner_activation": "none"},
        [2.46361988337, 2.13805295028, 1.75788968525],
    ),
    "plain-8, init dirac-mixed, dirac 0.5": (
        "plain",
        8,
        {"init": "dirac-mixed", "dirac": 0.5},
        [2.57821929666, 1.96473162358, 1.62191059101],
    ),
    "plain-8, init orthogonal": (
        "plain",
        8,
        {"init": "orthogonal"},
        [2.49720228841, 2.01847867742, 1.67364858412],
    ),
    "residual-14, layout isotropic": (
        "residual",
        14,
        {"layout": "isotropic"},
        [7.06816781967, 5.66141914847, 3.8435155276],
    ),
    "residual-8, activation leaky_relu": (
        "residual",
        8,
        {"activation": "leaky_relu"},
        [2.883782432, 2.3484675001, 1.8605707049],
    ),
    "residual-8, activation gelu": (
        "residual",
        8,
        {"activation": "gelu"},
        [2.72507999065, 2.28753425575, 1.80738659288],
    ),
    "residual-8, inner_activation none": (
        "residual",
        8,
        {"inner_activation": "none"},
        [2.91607632849, 2.51728520188, 1.98067648967],
    ),
    "residual-8, init dirac-mixed, dirac 0.5": (
        "residual",
        8,
        {"init": "dirac-mixed", "dirac": 0.5},
        [2.92026696088, 2.24396544733, 1.6458759244],
    ),
    "residual-8, init orthogonal": (
        "residual",
        8,
        {"init": "orthogonal"},
        [2.82062192923, 2.04656920837, 1.58438044574],
    ),
    "residual-8, shortcut projection": (
        "residual",
        8,
        {"shortcut": "projection"},
        [2.52420693021, 2.11084197848, 1.73560783228],
    ),
    "residual-8, shortcut_scale 0.5": (
        "residual",
        8,
        {"shortcut_scale": 0.5},
        [2.66829442036, 2.22504008057, 1.82603829718],
    ),
    "residual-8, last_scale 0.0": (
        "residual",
        8,
        {"last_scale": 0.0},
        [2.30954907758, 2.30150602115, 2.28631304076],
    ),
    "plain-2": ("plain", 2, {}, [2.68434864237, 2.65296413922, 2.5994093992]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_losses(name: str) -> None:
    family, depth, model, recorded = GOLDEN[name]
    assert losses(depth, family, **model) == pytest.approx(recorded, rel=1e-7)


def test_every_block_norm_and_init_has_one() -> None:
    recorded = [model for _, _, model, _ in GOLDEN.values()]
    for setting, table in (("block", BLOCKS), ("norm", NORMS), ("init", INITS), ("shortcut", SHORTCUTS)):
        missing = set(table) - {
            str(model.get(setting, getattr(ModelConfig(), setting))) for model in recorded
        }
        assert not missing, (setting, missing)


def test_a_number_that_moves_is_seen() -> None:
    """A shortcut that is scaled by 1.0001 is another network."""
    family, depth, _, recorded = GOLDEN["residual-8, block basic, norm batch"]
    assert losses(depth, family, shortcut_scale=1.0001) != pytest.approx(recorded, rel=1e-7)
