"""resdeg in a real Jupyter kernel: `!resdeg` in a cell, and resdeg.sweep() in the next one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

SMALL = (
    "--data hierarchy --recipe demo --depths 2,8 --seeds 0 --steps 20 --set data.hierarchy.train_images=512 "
    "--set model.width=0.25 --set execution.device=cpu"
)
CELLS = (
    f"!{sys.executable} -m resdeg sweep {SMALL} --out s",
    f"!{sys.executable} -m resdeg plot s --out figure.png",
    "import resdeg\nframe = resdeg.sweep(config='s/sweep.toml', out='s')\nprint(len(frame.runs), 'runs')",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own warnings are not ours.
def test_a_sweep_in_a_kernel_writes_plain_lines_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    asyncio.run(client.async_execute())
    first, second, third = (
        "".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells
    )
    assert "residual-d8-s0" in first
    assert "\x1b[2K" not in first, "nothing is drawn over"
    assert "\x1b[A" not in first
    assert len(first.splitlines()) < 80
    assert "Traceback" not in first + second + third
    assert (tmp_path / "s" / "curve.png").is_file()
    assert (tmp_path / "figure.png").is_file(), "a notebook's backend draws no file"
    assert "4 runs" in third, "the network of depth 2 belongs to both families"
