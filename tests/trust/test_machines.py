"""Machines that are not ours: small and read-only disks, no home, odd folders for temporary files, no locks.

File systems are mounted and users without a home are made in a namespace of our own. Errors of `fsync` and
`flock` are injected by strace where there is one; the tests of `files` make the same ones within Python.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resdeg.errors import StorageError
from resdeg.room import check_room, count_free_bytes
from resdeg.sweep.workers.launch import LONGEST, make_socket_folder
from resdeg.sweep.workers.process import call
from tests.trust.test_pipes import RESDEG, shell

SWEEP = "--depths 8 --families plain --seeds 0"
HOMELESS = (
    "env -u HOME -u RESDEG_DATA_DIR -u RESDEG_CACHE_DIR -u XDG_CACHE_HOME unshare --user --map-user=54321"
)
DEPENDENCIES = (
    "torch", "numpy", "pandas", "matplotlib", "scipy", "typer", "rich", "pydantic", "safetensors", "filelock",
    "platformdirs", "tomli_w", "jinja2", "tests",
)  # fmt: skip


def works(command: str) -> bool:
    return shell(command, Path("/")).returncode == 0


@pytest.fixture
def in_namespace() -> None:
    if not works("unshare -Urm mount -t tmpfs -o size=100k none /mnt"):
        pytest.skip("no file system can be mounted here")


@pytest.mark.slow
def test_a_disk_with_too_little_room(in_namespace: None, tiny_toml: Path, tmp_path: Path) -> None:
    """It is said before the first step, with both numbers; a dry run says it too, and fetching does."""
    (tmp_path / "small").mkdir()
    sweep = f"{RESDEG} sweep {tiny_toml} --depths 8,14 --out small/out"
    fetch = f"RESDEG_OFFLINE=0 RESDEG_CACHE_DIR=small/cache {RESDEG} data fetch"
    script = (
        f"mount -t tmpfs -o size=200k none small; {sweep} --dry-run >/dev/null; {sweep}; echo code $?; "
        f"{fetch}; echo code $?; find small -name '*.json'"
    )
    done = shell(f"unshare -Urm bash -c {shlex.quote(script)}", tmp_path)
    assert done.stdout.splitlines() == ["code 5", "code 5"], done.stderr
    assert "only 0.2 MB are free there, so this sweep would be refused" in done.stderr
    assert "error: small/out: this sweep needs about 1.7 MB, and 0.2 MB are free" in done.stderr
    assert "cifar-10-python.tar.gz needs about 354.8 MB, and 0.2 MB are free" in done.stderr
    assert "finished" not in done.stderr


@pytest.mark.slow
def test_a_disk_with_just_enough_room(in_namespace: None, tiny_toml: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    sweep = f"{RESDEG} sweep {tiny_toml} {SWEEP} --out small/out"
    done = shell(
        f"unshare -Urm bash -c {shlex.quote(f'mount -t tmpfs -o size=700k none small; {sweep}')}", tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_disk_that_only_reads(in_namespace: None, tiny_toml: Path, tmp_path: Path) -> None:
    (tmp_path / "fixed").mkdir()
    sweep = f"{RESDEG} sweep {tiny_toml} {SWEEP} --out fixed/out"
    done = shell(f"unshare -Urm bash -c {shlex.quote(f'mount -t tmpfs -o ro none fixed; {sweep}')}", tmp_path)
    assert done.returncode == 5
    assert "fixed/out" in done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr


def test_room_is_asked_of_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    assert count_free_bytes(tmp_path / "a" / "b") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    check_room(tmp_path / "a", 1, purpose="a byte")
    with pytest.raises(StorageError, match=r"a byte needs about 1,000,000,000,000\.0 MB, and .* MB are free"):
        check_room(tmp_path / "a", 10**18, purpose="a byte")
    assert count_free_bytes(Path("/proc/self")) is None, "a file system that does not count"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["long", "missing", "a file"])
def test_odd_folders_for_temporary_files(tiny_toml: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / ("x" * 80)
    if kind == "long":
        folder.mkdir()
    elif kind == "a file":
        folder.touch()
    done = shell(f"TMPDIR={folder} {RESDEG} sweep {tiny_toml} {SWEEP} --out out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "curve.png").is_file()


def test_no_folder_for_temporary_files(tmp_path: Path) -> None:
    long = tmp_path / ("y" * LONGEST)
    long.mkdir()
    with pytest.raises(OSError, match="no folder for temporary files"):
        make_socket_folder([str(long), str(tmp_path / "missing")])


@pytest.mark.slow
def test_a_user_without_a_home(tiny_toml: Path, tmp_path: Path) -> None:
    """Nothing is written into a folder called ~, and only what needs the cache asks for it."""
    if not works(f"{HOMELESS} true"):
        pytest.skip("no namespace of users can be made here")
    done = shell(f"{HOMELESS} {RESDEG} sweep {tiny_toml} {SWEEP} --out out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "curve.png").is_file()
    doctor = shell(f"{HOMELESS} {RESDEG} doctor", tmp_path)
    assert doctor.returncode == 0
    assert "no home folder: set RESDEG_CACHE_DIR" in doctor.stdout
    asked = shell(f"{HOMELESS} {RESDEG} data path", tmp_path)
    assert asked.returncode == 5
    assert "no home folder" in asked.stderr
    assert "set RESDEG_CACHE_DIR" in asked.stderr
    for said in (done, doctor, asked):
        assert "Traceback" not in said.stderr
    assert not (tmp_path / "~").exists()


# ---------------------------------------------------------------- the current folder


def plant_modules(folder: Path, *names: str) -> None:
    """Writes a file for each module that a Python has not imported when it begins a program."""
    script = "import sys, runpy, importlib.util, __future__; print(*sys.modules)"
    begun = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for name in {*sys.stdlib_module_names, *DEPENDENCIES, *names} - set(begun.stdout.split()):
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'log')!r}, 'a').write('{name} ')\nraise SystemExit"
        )


@pytest.mark.slow
@pytest.mark.parametrize("way", ["-m", "a script elsewhere"])
def test_no_file_of_the_current_folder_is_a_module(tiny_toml: Path, tmp_path: Path, way: str) -> None:
    """Neither the command nor its workers import one, whatever it is called."""
    (tmp_path / "here").mkdir()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "resdeg"
    script.write_text("from resdeg.cli.app import main\nmain()\n")
    plant_modules(tmp_path / "here", *(() if way == "-m" else ("resdeg",)))
    resdeg = RESDEG if way == "-m" else f"{sys.executable} {script}"
    done = shell(f"{resdeg} sweep {tiny_toml} {SWEEP} --out out", tmp_path / "here")
    assert not (tmp_path / "here" / "log").exists(), (tmp_path / "here" / "log").read_text()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "out" / "curve.png").is_file()


def test_a_worker_imports_nothing_from_the_folder_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path) not in call(eval, "__import__('sys').path")


@pytest.mark.slow
def test_workers_run_the_package_of_whoever_asks(tmp_path: Path) -> None:
    """That of a checkout which is not installed, and no other file of that folder."""
    shutil.copytree(Path(__file__).parents[2] / "resdeg", tmp_path / "resdeg")
    script = """
import pathlib
from resdeg.sweep.workers.process import call
pathlib.Path("zipapp.py").write_text("")
print(call(eval, "__import__('os').path.realpath(__import__('resdeg').__file__)"))
print(call(eval, "'resdeg.sweep.workers.server' in __import__('sys').modules"))
print(call(eval, "__import__('zipapp').__file__"))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    package, preloaded, other = done.stdout.splitlines()
    assert package == str((tmp_path / "resdeg" / "__init__.py").resolve())
    assert preloaded == "True"
    assert Path(other).parent != tmp_path


# ---------------------------------------------------------------- file systems that cannot


def inject(call: str, error: str) -> str:
    """Returns the command with which every such system call of a program fails."""
    command = f"strace -f -qq -o /dev/null -e trace={call} -e inject={call}:error={error}"
    if shutil.which("strace") is None or not works(f"{command} true"):
        pytest.skip("no strace, or it may not be used here")
    return command


@pytest.mark.slow
def test_a_file_system_without_locks(tiny_toml: Path, tmp_path: Path) -> None:
    done = shell(
        f"timeout 100 {inject('flock', 'ENOLCK')} {RESDEG} sweep {tiny_toml} {SWEEP} --out out --wait",
        tmp_path,
    )
    assert done.returncode == 5, done.stderr
    assert "error: out: locking does not work on this file system (No locks available)" in done.stderr
    assert "busy" not in done.stderr


@pytest.mark.slow
def test_a_file_system_that_cannot_sync(tiny_toml: Path, tmp_path: Path) -> None:
    """Every worker notices it too, and it is said once."""
    done = shell(
        f"{inject('fsync', 'EINVAL')} {RESDEG} sweep {tiny_toml} --depths 8 --seeds 0 --out out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    for what in ("folders", "files"):
        assert done.stderr.count(f"cannot sync {what} (Invalid argument)") == 1
