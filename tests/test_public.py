"""The Python road: what `import resdeg` offers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import resdeg
from resdeg import data
from resdeg.errors import StorageError
from resdeg.runner import Trainer, execute
from resdeg.store import SweepStore
from tests.conftest import ON_CPU
from tests.planted import CELLS, planted


def test_importing_it_imports_nothing_else() -> None:
    script = "import resdeg, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "pandas", "pydantic"}.isdisjoint(done.stdout.split())


def test_every_public_name_is_there_and_no_other() -> None:
    for name in resdeg.__all__:
        assert getattr(resdeg, name) is not None
        assert name in dir(resdeg)
    with pytest.raises(AttributeError, match="no attribute 'plot'"):
        resdeg.plot  # noqa: B018


def test_load_gives_the_frames(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    sweep = resdeg.load(str(tmp_path / "s"))
    assert len(sweep.runs) == 12
    assert len(sweep.metrics) == 24
    point = sweep.curve.set_index(["family", "depth", "metric"]).loc[("plain", 20, "test_accuracy")]
    assert point["mean"] == pytest.approx(0.62)
    assert (sweep.folder / "runs" / sweep.runs["run_id"][0]).is_dir()


def test_a_loaded_model_is_the_trained_one(tmp_path: Path, tiny_run) -> None:
    config = tiny_run("residual", training={"epochs": 1})
    store = SweepStore(tmp_path).run(config.run_id)
    summary = execute(config, store, ON_CPU)
    model = resdeg.load_model(str(store.folder))
    assert not model.training
    trainer = Trainer.from_config(config, data.load(config.data), device=torch.device("cpu"))
    trainer.state.model = model
    score = trainer.score("test", trainer.inputs.held["test"])["test"]
    assert score.loss == pytest.approx(summary.test_loss, abs=1e-6)
    untrained = resdeg.build_model("residual", 8, 0, config.model)
    assert not torch.equal(untrained.stem.weight, model.stem.weight)


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    with pytest.raises(StorageError, match="no usable checkpoint"):
        resdeg.load_model(store.run(store.run_ids()[0]).folder)
