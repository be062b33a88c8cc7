"""Files that are no such network: refused in a line that names the first difference, and nothing is run."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from resdeg.config import ModelConfig
from resdeg.models.foreign import exported
from tests.adopt.networks import SMALL, AkamasterNet, arbitrary

CANARY = "canary"


def good() -> dict[str, torch.Tensor]:
    return exported(arbitrary("residual", 20), "residual", SMALL, "akamaster")


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in good().items() if key != name}


def optimiser() -> dict[str, Any]:
    model = AkamasterNet(1)
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9).state_dict()


def resnet18() -> dict[str, torch.Tensor]:
    """The names and shapes with which torchvision's begins and ends."""
    named = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    named |= {f"bn1.{name}": torch.ones(64) for name in ("weight", "bias", "running_mean", "running_var")}
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for position in range(2):
            for part in (1, 2):
                key = f"layer{stage}.{position}"
                named[f"{key}.conv{part}.weight"] = torch.zeros(channels, channels, 3, 3)
                named[f"{key}.bn{part}.weight"] = torch.ones(channels)
        if stage > 1:
            named[f"layer{stage}.0.downsample.0.weight"] = torch.zeros(channels, channels // 2, 1, 1)
    return named | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


DIFFERENT: dict[str, tuple[Callable[[], object], str]] = {
    "wrong shape": (
        lambda: good() | {"layer2.1.conv2.weight": torch.zeros(16, 16, 1, 1)},
        "layer2.1.conv2.weight is 16x16x1x1, expected 16x16x3x3",
    ),
    "wrong head": (lambda: good() | {"linear.weight": torch.zeros(10, 64)}, "linear.weight is 10x64"),
    "missing norm": (lambda: without("layer1.2.bn2.running_var"), "layer1.2.bn2.running_var is missing"),
    "one name more": (
        lambda: good() | {"layer4.0.conv1.weight": torch.zeros(1)},
        "layer4.0.conv1.weight is in it",
    ),
    "another depth": (
        lambda: exported(arbitrary("residual", 14), "residual", SMALL, "akamaster"),
        "not residual-20 in akamaster's layout: layer1.2.conv1.weight is missing",
    ),
    "resnet-18": (resnet18, "conv1.weight is 64x3x7x7, expected 64x3x3x3"),
    "optimiser": (optimiser, "'state' is a dict"),
    "not a dict": (lambda: [torch.zeros(3)], "holds a list"),
    "a tensor": (lambda: torch.zeros(3), "holds a Tensor"),
    "empty": (dict, "empty dictionary"),
    "unknown names": (lambda: {"encoder.weight": torch.zeros(3)}, "first name is encoder.weight"),
    "integers": (
        lambda: good() | {"conv1.weight": torch.zeros(8, 3, 3, 3, dtype=torch.int64)},
        "conv1.weight is of torch.int64",
    ),
    "not finite": (
        lambda: good() | {"bn1.bias": torch.full((8,), float("nan"))},
        "bn1.bias holds a number that is not finite",
    ),
    "numbers among tensors": (lambda: good() | {"epoch": 7}, "'epoch' is a int"),
    "a shortcut too many": (
        lambda: exported(
            arbitrary("residual", 20, ModelConfig(width=0.5, shortcut="projection")), "residual",
            ModelConfig(width=0.5, shortcut="projection"), "akamaster",
        ) | {"layer1.0.shortcut.0.weight": torch.zeros(1)},
        "layer1.0.shortcut.0.weight is in it",
    ),
    "sparse": (
        lambda: good() | {"linear.bias": torch.zeros(10).to_sparse()},
        "linear.bias is no plain tensor",
    ),
}  # fmt: skip


def adopt(resdeg: Any, path: Path) -> subprocess.CompletedProcess[str]:
    return resdeg("adopt", path, "--family", "residual", "--depth", "20", "--own-input")


def assert_refused(done: subprocess.CompletedProcess[str], difference: str, folder: Path) -> None:
    assert done.returncode == 4, done.stderr
    line = done.stderr.splitlines()[0]
    assert line.startswith("error: ")
    assert difference in line
    assert "Traceback" not in done.stderr
    assert not (folder / "results").exists()


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_is_no_such_network_is_refused(kind: str, resdeg: Any, tmp_path: Path) -> None:
    make, difference = DIFFERENT[kind]
    torch.save(make(), tmp_path / "w.pt")
    assert_refused(adopt(resdeg, tmp_path / "w.pt"), difference, tmp_path)


def test_a_whole_file_is_not_refused_as_damaged(resdeg: Any, tmp_path: Path) -> None:
    """Else every file above could be refused for what all of them share."""
    torch.save(good(), tmp_path / "w.pt")
    done = resdeg("adopt", tmp_path / "w.pt", "--depth", "20", "--own-input")
    assert (done.returncode, "--family" in done.stderr) == (2, True)


def as_zip(named: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(named, buffer)
    return buffer.getvalue()


def as_pickle(named: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(named, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [as_zip, as_pickle, safetensors.torch.save])
def test_a_file_that_was_cut_is_refused(write: Callable[[Any], bytes], resdeg: Any, tmp_path: Path) -> None:
    content = write(good())
    path = tmp_path / ("w.safetensors" if write is safetensors.torch.save else "w.pt")
    for part in range(20):
        path.write_bytes(content[: part * len(content) // 20])
        assert_refused(adopt(resdeg, path), "w.", tmp_path)


class Payload:
    """What a pickle of it does when it is read: `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def payload(kind: str, canary: Path) -> bytes:
    touch = f"open({str(canary)!r}, 'w').close()"
    command = Payload(os.system, f"touch {canary}")
    return {
        "a bare pickle": lambda: pickle.dumps(command),
        "a value in a zip": lambda: as_zip(good() | {"conv1.weight": command}),
        "a value in the first format": lambda: as_pickle(good() | {"conv1.weight": command}),
        "exec": lambda: as_zip(Payload(builtins.exec, touch)),
        "eval": lambda: as_pickle(Payload(builtins.eval, touch)),
        "a process": lambda: as_zip({"state_dict": Payload(subprocess.call, ["touch", str(canary)])}),
        "a file within": lambda: as_zip(Payload(torch.storage._load_from_bytes, as_pickle(command))),
    }[kind]()


PAYLOADS = (
    "a bare pickle", "a value in a zip", "a value in the first format", "exec", "eval", "a process",
    "a file within",
)  # fmt: skip


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_payload_is_not_run(kind: str, resdeg: Any, tmp_path: Path) -> None:
    canary = tmp_path / CANARY
    (tmp_path / "w.pt").write_bytes(payload(kind, canary))
    assert_refused(adopt(resdeg, tmp_path / "w.pt"), "not a file of plain tensors", tmp_path)
    assert not canary.exists()


@pytest.mark.parametrize("kind", PAYLOADS)
def test_each_payload_would_do_what_it_is_for(kind: str, tmp_path: Path) -> None:
    """The same bytes, read as torch reads what it trusts."""
    canary = tmp_path / CANARY
    content = payload(kind, canary)
    if kind == "a bare pickle":
        pickle.loads(content)
    elif kind != "a file within":
        torch.load(io.BytesIO(content), weights_only=False)
    else:  # what is within is read by the same unpickler as what is around it, where that is asked to trust
        torch.storage._load_from_bytes(as_pickle(Payload(os.system, f"touch {canary}")))
    assert canary.exists()


def test_an_older_torch_reads_no_file_of_its_own_format(
    resdeg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(good(), tmp_path / "w.pt")
    (tmp_path / "w.safetensors").write_bytes(safetensors.torch.save(without("linear.bias")))
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    done = adopt(resdeg, tmp_path / "w.pt")
    assert done.returncode == 2
    assert "torch 2.9.1+cpu does not read safely: it takes 2.10" in done.stderr.replace("\n", " ")
    assert_refused(adopt(resdeg, tmp_path / "w.safetensors"), "linear.bias is missing", tmp_path)
