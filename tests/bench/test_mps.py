"""NVIDIA's MPS, played by a program that writes down how it is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resdeg.bench import mps
from resdeg.bench.contenders import Contender
from resdeg.bench.lineup import lineup
from resdeg.bench.measure import Machine, compare
from resdeg.bench.running import Running, serve_loop
from resdeg.errors import ResdegError

ENGINE = Contender(name="engine", kind="engine", threads=1, depth=8)
UNDER_MPS = ENGINE.model_copy(update={"name": "apart", "mps": True, "copies": 2})
MACHINE = Machine(1, {"fp32": 3e9}, 1e9)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the log of the stand-in: a line for each call, with its arguments, input and folders."""
    log, program = tmp_path / "calls", tmp_path / mps.CONTROL
    program.write_text(
        f'#!/bin/sh\necho "$*|$(cat)|$CUDA_MPS_PIPE_DIRECTORY|$CUDA_MPS_LOG_DIRECTORY" >> {log}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return log


def test_the_daemon_has_a_folder_of_its_own_and_is_stopped(daemon: Path) -> None:
    service = mps.Service.start()
    folder = service.variables["CUDA_MPS_PIPE_DIRECTORY"]
    assert Path(folder).is_dir()
    service.stop()
    assert daemon.read_text().splitlines() == [f"-d||{folder}|{folder}", f"|quit|{folder}|{folder}"]
    assert not Path(folder).exists()


def test_a_daemon_that_refuses_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / mps.CONTROL
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ResdegError, match="nvidia-cuda-mps-control does not start"):
        mps.Service.start()


def test_processes_under_mps_are_measured_where_its_daemon_is(
    daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> list[str]:
        return [each.name for each in lineup("cuda", 20, cores=2, precisions=["bf16"]) if each.mps]

    assert names() == [f"{copies} captured bf16, in processes under MPS" for copies in (2, 4, 8)]
    monkeypatch.setenv("PATH", "/nowhere")
    assert names() == []


@pytest.mark.slow
def test_only_the_processes_under_mps_get_its_variables(
    daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[dict[str, str]]] = {}
    start = Running.start.__func__  # type: ignore[attr-defined]

    def listen(cls: type[Running], contender: Contender, variables: dict[str, str]) -> Running:
        given.setdefault(contender.name, []).append(dict(variables))
        return start(cls, contender, variables)

    monkeypatch.setattr(Running, "start", classmethod(listen))
    ratios = compare(ENGINE, [UNDER_MPS], pairs=1, steps=1, machine=MACHINE, refuse=lambda *refused: None)
    assert [ratio.name for ratio in ratios] == ["engine, again", "apart"]
    assert given["engine"] == [{}, {}]
    [variables] = given["apart"]
    assert set(variables) == {"CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"}
    assert daemon.read_text().count("quit") == 1


@pytest.mark.slow
def test_without_the_daemon_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_to_start() -> mps.Service:
        raise ResdegError("it does not start")

    monkeypatch.setattr(mps.Service, "start", refuse_to_start)
    refused: list[str] = []
    ratios = compare(
        ENGINE, [UNDER_MPS], pairs=1, steps=1, machine=MACHINE,
        refuse=lambda contender, error: refused.append(f"{contender.name}: {error.what}"),
    )  # fmt: skip
    assert refused == ["apart: it does not start"]
    assert [ratio.name for ratio in ratios] == ["engine, again"]


def test_a_worker_has_the_variables_before_its_loop_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA reads them at its start."""
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    seen: list[str | None] = []

    class Pipe:
        def recv_bytes(self) -> bytes:
            return b""

    def look(contender: Contender) -> object:
        seen.append(os.environ.get("CUDA_MPS_PIPE_DIRECTORY"))
        return lambda steps: None

    monkeypatch.setitem(serve_loop.__globals__["LOOPS"], "engine", look)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    serve_loop(Pipe(), ENGINE.model_dump_json(), {"CUDA_MPS_PIPE_DIRECTORY": "/there"})  # type: ignore[arg-type]
    assert seen == ["/there"]
