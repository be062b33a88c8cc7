"""Take the lines that keep results safe away, one at a time: some test must see it (`make mutants`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """A safety line: where it is, what stands in its place, and the tests that should fail then."""

    name: str
    file: str
    line: str
    instead: str
    tests: str


POWER, KILLS, DAMAGE = (f"tests/trust/test_{name}.py" for name in ("power", "kills", "damage"))
MUTANTS = [
    Mutant(
        "fsync of a file", "files.py",
        "                _os_write(handle, content)\n                _sync_file(handle, path)\n",
        "                _os_write(handle, content)\n", POWER,
    ),
    Mutant(
        "fsync of a line", "files.py",
        "            _os_write(handle, content)\n            _sync_file(handle, path)\n",
        "            _os_write(handle, content)\n", POWER,
    ),
    Mutant("fsync of a folder", "files.py", "            raise\n        _sync_folder(path.parent)\n",
           "            raise\n", POWER),
    Mutant("EIO of a file", "files.py", "error.errno not in _NO_SYNC:", "error.errno not in _NO_FOLDER_SYNC:",
           "tests/trust/test_errors.py"),
    Mutant("locks are tried", "locks.py", "        if error.errno not in _HELD:\n            raise\n", "",
           "tests/test_files.py"),
    Mutant("room on the disk", "sweep/conduct.py",
           '            check_room(folder, priced.missing_bytes(), purpose="this sweep")\n',
           "            pass\n",
           "tests/trust/test_machines.py"),
    Mutant("the server's path", "sweep/workers/launch.py", '{"PYTHONSAFEPATH": "1"}', "{}",
           "tests/trust/test_machines.py"),
    Mutant("rename instead of overwriting", "files.py", "            _os_replace(temporary, path)\n",
           "            path.write_bytes(content)\n", POWER),
    Mutant("lock", "locks.py", "            lock.acquire()\n", "            pass\n",
           "tests/trust/test_two_at_once.py"),
    Mutant("lock released when the disk refuses", "locks.py",
           "with contextlib.suppress(StorageError):  # a note left", "if True:  # a note left",
           "tests/trust/test_errors.py"),
    Mutant("temporary names of one's own", "files.py", "{os.getpid()}-{secrets.token_hex(4)}", "0",
           "tests/test_files.py"),
    Mutant("no planted link followed", "files.py", "flags | os.O_NOFOLLOW |", "flags |",
           "tests/test_files.py"),
    Mutant("cut of what is ahead", "store/session.py",
           '            files.truncate(folder / "metrics.jsonl", size)\n', "            pass\n", DAMAGE),
    Mutant("hash of the tensors", "store/generations.py",
           "if hashlib.sha256(tensors).hexdigest() != manifest.sha256:", "if False:", DAMAGE),
    Mutant("hash of the metrics", "store/generations.py",
           "elif hashlib.sha256(metrics).hexdigest() != manifest.metrics_sha256:", "elif False:", DAMAGE),
    Mutant("seal of the manifest", "store/generations.py", "if sealed(manifest) == content else None", "",
           DAMAGE),
    Mutant("tensors before the manifest", "store/session.py",
           "        files.write(folder / slot, tensors)\n        manifest = Manifest(",
           "        self.step and files.write(folder / slot, tensors)\n        manifest = Manifest(", POWER),
    Mutant("the older slot", "store/session.py", "slot = _SLOTS[1] if", "slot = _SLOTS[0] if", POWER),
    Mutant("the older manifest goes first", "store/pruning.py", '("manifest-previous.json", "manifest.json",',
           '("manifest.json", "manifest-previous.json",', "tests/cli/test_prune.py"),
    Mutant("nothing is pruned while a sweep runs", "store/pruning.py",
           "            owned.enter_context(sweep.owned())\n", "", "tests/cli/test_prune.py"),
    Mutant("other settings are refused", "sweep/destination.py", "    if not differences:\n        return\n",
           "    if differences or True:\n        return\n", "tests/sweep/test_destination.py"),
    Mutant("an owner that was stopped writes nothing more", "store/lease.py",
           "            if owner is not None and owner.token == token:\n", "            if True:\n",
           "tests/test_lease.py"),
    Mutant("a task that was given up writes nothing more", "sweep/cluster/recorder.py",
           "return claim if claim is not None and claim.token == token else None", "return claim",
           "tests/cluster/test_recorder.py"),
    Mutant("data hash", "store/session.py", "if earlier.data_hash != segment.data_hash:", "if False:",
           "tests/test_store.py"),
    Mutant("copies are proven", "data/cifar.py",
           "        _check_genuine(dataset, root, distribution)\n", "", "tests/data/test_forms.py"),
    Mutant("no rounding", "data/array_file.py", "        if not exact.all():\n", "        if False:\n",
           "tests/data/test_forms.py"),
    Mutant("a hash of what is trained on", "data/altered.py",
           "    return replace(altered, hash=altered.hash_content())\n", "    return altered\n",
           "tests/data/test_altered.py"),
    Mutant("other images are refused", "data/folder.py", "if dataset.hash != table.hash or", "if",
           "tests/data/test_folder.py"),
    Mutant("a changed file is noticed", "data/folder.py", "stat.st_ctime_ns, ", "",
           "tests/data/test_folder.py"),
    Mutant("noise is not set beside published numbers", "analysis/anchors.py",
           'for name in ("subset", "label_noise")', "for name in ()", "tests/analysis/test_anchors.py"),
    Mutant("claims take planned seeds", "analysis/frame.py",
           ' & table["seed"].isin(plan.seeds)', "", "tests/analysis/test_evidence.py"),
    Mutant("nobody stops to measure when it pleases", "analysis/coverage.py",
           "if 0 < count < len(needed):", "if False:", "tests/analysis/test_evidence.py"),
    Mutant("a run that was registered stays planned", "analysis/frame.py",
           "config = config.with_registered()", "pass", "tests/sweep/test_registration.py"),
    Mutant("derived randomness", "data/batch_plan.py", "np.random.Philox(key=derive(seed, purpose, epoch))",
           "np.random.Philox()", "tests/test_runner.py"),
    Mutant("momentum in the checkpoint", "training/state.py",
           'if "momentum_buffer" in state.optimizer.state[parameter]:', "if False:", "tests/test_runner.py"),
    Mutant("a reader that left", "cli/console.py", "except BrokenPipeError:", "except ZeroDivisionError:",
           "tests/trust/test_pipes.py"),
    Mutant("a lost worker is tried again", "sweep/supervisor.py", "lost[run.run_id] < RETRIES", "False",
           "tests/trust/test_workers.py"),
    Mutant("but not for ever", "sweep/supervisor.py", "lost[run.run_id] < RETRIES", "True",
           "tests/trust/test_workers.py"),
    Mutant("a silent worker is killed", "sweep/workers/pool.py", "heard > self._silence for",
           "heard > 1e9 for", "tests/trust/test_workers.py"),
    Mutant("a worker's signal", "sweep/workers/entry.py", "        self.raised = True\n", "        pass\n",
           "tests/trust/test_signals.py"),
    Mutant("a signal during a message", "sweep/workers/entry.py", "if not send(**message):",
           "stop.raised |= not send(**message)\n        if False:", "tests/sweep/test_worker.py"),
    Mutant("a question ends with whoever asked", "sweep/workers/entry.py", "    when_stopped(leave)\n", "",
           "tests/sweep/test_process.py"),
    Mutant("weights alone", "models/weights_file.py", "weights_only=True", "weights_only=False",
           "tests/adopt/test_refused.py"),
    Mutant("adopted weights are not trained", "runner/check.py", "    config.check_trainable()\n", "",
           "tests/adopt/test_commands.py"),
    Mutant("the code in a segment", "runner/provenance.py", "digest.update(", "str(",
           "tests/trust/test_changes.py"),
    Mutant("a run passes the gate", "runner/execute.py", "        gate.working(),\n", "",
           "tests/training/test_gate.py"),
    Mutant("captures are let pass", "runner/execute.py", "    gate.let_captures_pass()\n", "",
           "tests/training/test_gate.py"),
    Mutant("a capture passes the gate", "training/graph.py", "with gate.capturing():", "if True:",
           "tests/training/test_gate.py"),
    Mutant("a step is equal before it is timed", "bench/contenders.py",
           "        require_equal_steps(contender)\n", "        pass\n", "tests/bench/test_bench.py"),
    Mutant("copies that differ are refused", "sweep/collect.py",
           "            if difference := find_difference(furthest, other):\n",
           "            if difference := None:\n", "tests/sweep/test_collect_copies.py"),
    Mutant("a run is copied beside its name", "sweep/collect.py",
           "        staged = RunStore(staging / run_id)\n",
           "        staged = target.run(run_id)\n", "tests/sweep/test_collect_damage.py"),
    Mutant("a copied run is verified", "sweep/collect.py", "        check_run(staged)\n", "        pass\n",
           "tests/sweep/test_collect_damage.py"),
]  # fmt: skip


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass without the line."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("resdeg", "tests", "configs"):
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        path = Path(folder) / "resdeg" / mutant.file
        path.write_text(path.read_text().replace(mutant.line, mutant.instead))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutant.tests],
            cwd=folder, env=os.environ | {"PYTHONPATH": folder}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 1):
            raise SystemExit(
                f"{mutant.name}: the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.returncode == 0


def main() -> None:
    left = []
    for mutant in MUTANTS:
        alive = survives(mutant)
        print(f"{'SURVIVED' if alive else 'caught':8} {mutant.name} ({mutant.tests})", flush=True)
        left += [mutant.name] * alive
    raise SystemExit(f"not caught: {', '.join(left)}" if left else 0)


if __name__ == "__main__":
    main()
