"""`resdeg diagnose`: what is measured, stored, kept, skipped, printed, and left by a signal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import resdeg as package
from resdeg import data, files, locks
from resdeg.analysis.diagnostics import load_diagnostics
from resdeg.analysis.judge import Verdict
from resdeg.config import ConstructedConfig, DataConfig, ModelConfig, RunConfig, SweepConfig, TrainingConfig
from resdeg.diagnostics import DIAGNOSTICS, Diagnostic
from resdeg.diagnostics.responses import response_std
from resdeg.diagnostics.sample import Sample
from resdeg.errors import StorageError
from resdeg.models import image_statistics
from resdeg.models.contexts import recompute_statistics
from resdeg.runner import diagnose as runner
from resdeg.runner import execute
from resdeg.store import SweepStore
from resdeg.training.state import load_weights
from tests.conftest import ON_CPU, TINY, Resdeg
from tests.planted import CELLS, causes, diagnosed, planted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained sweep: depths 2 and 8 in both families, one seed; made once, copied by each test."""
    store = SweepStore(tmp_path_factory.mktemp("swept") / "s")
    config = SweepConfig(
        depths=(2, 8), seeds=(0,), data=DataConfig(name="hierarchy", hierarchy=TINY),
        model=ModelConfig(width=0.25),
        training=TrainingConfig(recipe="demo", epochs=1, batch_size=32, pad=2),
    )  # fmt: skip
    files.make_folder(store.folder)
    store.plan.write_text(config.to_toml())
    for run in config.runs():
        execute(run, store.run(run.run_id), ON_CPU)
    return store.folder


@pytest.fixture
def sweep(swept: Path, tmp_path: Path) -> SweepStore:
    shutil.copytree(swept, tmp_path / "s")
    return SweepStore(tmp_path / "s")


def swept_with(folder: Path, config: RunConfig) -> SweepStore:
    """A finished sweep of this run alone, without snapshots."""
    store = SweepStore(folder)
    files.make_folder(folder)
    grid = {"depths": (config.depth,), "families": (config.family,), "seeds": (config.seed,)}
    plan = SweepConfig(**grid, data=config.data, model=config.model, training=config.training)
    store.plan.write_text(plan.to_toml())
    execute(config, store.run(config.run_id), ON_CPU)
    return store


def run_of(store: SweepStore, name: str) -> tuple[Path, RunConfig]:
    (run_id,) = [run_id for run_id in store.run_ids() if run_id.startswith(name)]
    return store.run(run_id).folder, store.run(run_id).config()


def test_every_number_of_every_kind_is_stored_and_told(resdeg: Resdeg, sweep: SweepStore) -> None:
    done = resdeg("diagnose", "s", "--images", 40)
    assert done.returncode == 0, done.stderr
    assert "residual-d8-s0" in done.stdout
    assert "lesions" in done.stdout
    assert re.search(r"residual-d8-s0-\w{8}: measured 9 times in .* \([1-3] of 3 networks\)", done.stderr)
    frame, _ = load_diagnostics(sweep.folder)
    eight = frame[(frame["depth"] == 8) & (frame["family"] == "plain")]
    counts = eight.groupby(["kind", "state"]).size().to_dict()
    assert counts == {
        ("responses", "initial"): 7, ("responses", "final"): 7,
        ("identity", "initial"): 6, ("identity", "final"): 6,
        ("probes", "initial"): 4, ("probes", "final"): 4,
        ("gradients", "initial"): 8, ("gradients", "final"): 8,
        ("lesions", "final"): 12,
    }  # fmt: skip
    assert set(frame.loc[frame["kind"] != "gradients", "images"]) == {40}
    assert set(frame.loc[frame["depth"] == 2, "family"]) == {"plain", "residual"}
    assert not list(sweep.folder.rglob("*.tmp-*"))


def test_the_final_net_is_the_trained_one_and_the_initial_one_is_not(
    resdeg: Resdeg, sweep: SweepStore
) -> None:
    assert resdeg("diagnose", "s", "--kinds", "responses", "--images", 40).returncode == 0
    folder, config = run_of(sweep, "residual-d8")
    sample = Sample.from_dataset(data.load(config.data), 40)
    initial = package.build_model("residual", 8, 0, config.model)
    recompute_statistics(initial, sample.train_batches(40))
    records = SweepStore(sweep.folder).run(config.run_id).diagnostics()
    for state, model in (("final", package.load_model(folder)), ("initial", initial)):
        stored = [record.value for record in records if record.state == state]
        assert stored == pytest.approx(response_std(model, sample.batches()).tolist(), rel=1e-5)


def test_what_is_there_is_not_measured_again(resdeg: Resdeg, sweep: SweepStore) -> None:
    def diagnose(*arguments: object) -> list[int]:
        done = resdeg("diagnose", "s", "--depths", 8, "--images", 40, *arguments)
        assert done.returncode == 0, done.stderr
        return [int(count) for count in re.findall(r"measured (\d+) times", done.stderr)]

    assert diagnose("--kinds", "responses") == [2, 2], "two nets in two states"
    folder, _ = run_of(sweep, "plain-d8")
    before = (folder / "diagnostics.jsonl").read_bytes()
    assert diagnose("--kinds", "responses") == []
    assert diagnose("--kinds", "probes,responses") == [2, 2], "other kinds are added"
    assert (folder / "diagnostics.jsonl").read_bytes().startswith(before)
    assert diagnose("--kinds", "responses", "--images", 30) == [2, 2], "other images are not the same"
    assert diagnose("--kinds", "responses", "--images", 30, "--again") == [2, 2]
    records = [json.loads(line) for line in (folder / "diagnostics.jsonl").read_text().splitlines()]
    assert len(records) == 2 * (7 + 4), "replaced, not piled up"


def test_each_kind_has_its_own_number_of_images(resdeg: Resdeg, sweep: SweepStore) -> None:
    """Probes on the whole test split beside lesions and gradients on some of it, measured in any order."""
    last = ("diagnose", "s", "--depths", 8)

    def images() -> dict[str, set[int]]:
        records = sweep.run(run_of(sweep, "plain-d8")[1].run_id).diagnostics()
        return {kind: {r.images for r in records if r.kind == kind} for kind in {r.kind for r in records}}

    def probe_notes() -> set[str | None]:
        records = sweep.run(run_of(sweep, "plain-d8")[1].run_id).diagnostics()
        return {r.note for r in records if r.kind == "probes"}

    assert resdeg(*last, "--kinds", "lesions,gradients", "--images", 20).returncode == 0
    done = resdeg(*last, "--kinds", "probes", "--images", 60)
    assert (done.returncode, "all of them" in done.stderr) == (0, False), done.stderr
    assert images() == {"lesions": {20}, "gradients": {100}, "probes": {60}}
    assert probe_notes() == {"fitted on 256 training images"}, "five times 60 are more than there are"
    more = resdeg(*last, "--kinds", "probes", "--images", 10_000)
    assert "--images 10,000: there are 60 test images, and all of them are taken" in more.stderr
    assert (more.returncode, "measured" in more.stderr) == (0, False), "which is what is there already"
    assert resdeg(*last, "--kinds", "lesions", "--images", 30).returncode == 0
    assert images() == {"lesions": {30}, "gradients": {100}, "probes": {60}}


def test_a_command_that_names_no_number_keeps_what_was_measured_on_more_images(
    resdeg: Resdeg, sweep: SweepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "IMAGES", 30)
    _, config = run_of(sweep, "plain-d8")

    def measure(images: int | None, **how: bool) -> list[str]:
        kinds = ["probes", "lesions"]
        done = runner.diagnose(sweep.run(config.run_id), config, kinds=kinds, images=images, **how)
        return [measured.kind for measured in done]

    assert list(runner.diagnose(sweep.run(config.run_id), config, kinds=["probes"], images=60))
    assert measure(None) == ["lesions"], "probes on more images stay"
    assert {(r.kind, r.images) for r in sweep.run(config.run_id).diagnostics()} == {
        ("probes", 60),
        ("lesions", 30),
    }
    assert measure(None) == []
    assert measure(20) == ["probes", "probes", "lesions"], "a number that is asked for is taken"
    assert measure(None) == ["probes", "probes", "lesions"], "and fewer than usual are not enough"
    assert measure(None, again=True) == ["probes", "probes", "lesions"]


def test_records_from_before_a_number_was_there_are_read(resdeg: Resdeg, sweep: SweepStore) -> None:
    """They lack `branch_norm`; the others are shown, stay as they are, and --again adds it."""
    command = ("diagnose", "s", "--kinds", "identity", "--images", 40, "--depths", 8)
    assert resdeg(*command).returncode == 0
    for path in sweep.folder.glob("runs/*/diagnostics.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"branch_norm"' not in line))
    old = resdeg(*command)
    assert (old.returncode, "measured" in old.stderr) == (0, False)
    assert re.search(r"^ +identity +branch ", old.stdout, re.MULTILINE)
    assert "branch_norm" not in old.stdout
    assert "branch_norm" in resdeg(*command, "--again").stdout


def test_depths_seeds_and_kinds_choose(resdeg: Resdeg, sweep: SweepStore) -> None:
    told = resdeg("diagnose", "s", "--depths", 8, "--kinds", "identity", "--json", "--images", 40)
    rows = json.loads(told.stdout)
    assert {(row["depth"], row["kind"]) for row in rows} == {(8, "identity")}
    assert {row["state"] for row in rows} == {"initial", "final"}
    assert not (run_of(sweep, "plain-d2")[0] / "diagnostics.jsonl").exists()
    none = resdeg("diagnose", "s", "--seeds", 5)
    assert (none.returncode, "nothing could be measured" in none.stderr) == (2, True)
    unknown = resdeg("diagnose", "s", "--kinds", "lesion")
    assert (unknown.returncode, "did you mean 'lesions'?" in unknown.stderr) == (2, True)
    assert resdeg("diagnose", "s", "--images", 3).returncode == 2


def test_runs_without_a_network_are_named_and_skipped(resdeg: Resdeg, sweep: SweepStore) -> None:
    """A published run, a damaged one and a stopped one; the others are measured, and records stay shown."""
    folder, plain = run_of(sweep, "plain-d8")
    assert resdeg("diagnose", "s", "--kinds", "probes", "--images", 40, "--depths", 8).returncode == 0
    shutil.rmtree(folder / "checkpoint")
    for path in (run_of(sweep, "plain-d2")[0] / "checkpoint").glob("*.safetensors"):
        path.write_bytes(b"\0" + path.read_bytes()[1:])
    _, residual = run_of(sweep, "residual-d8")
    done = resdeg("diagnose", "s", "--kinds", "probes", "--images", 40, "--json")
    assert done.returncode == 0
    assert "no usable checkpoint" in done.stderr
    assert plain.run_id in done.stderr
    assert residual.run_id not in done.stderr
    assert {row["run_id"] for row in json.loads(done.stdout)} == {plain.run_id, residual.run_id}


def test_a_published_sweep_has_nothing_to_measure(resdeg: Resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "p", CELLS)
    done = resdeg("diagnose", "p")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "plain-d8-s0" in done.stderr
    assert not (tmp_path / "p" / "diagnose.lock").exists(), "and nothing is written there"


def test_many_networks_are_a_line_each(resdeg: Resdeg, tmp_path: Path) -> None:
    """Of those that were asked for, means over seeds; up to four have every number."""
    diagnosed(causes(tmp_path / "p", Verdict.SUPPORTED))
    done = resdeg("diagnose", "p")
    head, *lines = done.stdout.splitlines()
    assert head.split()[:4] == ["network", "seeds", "images", "branch"]
    names = [line[:24].strip() for line in lines]
    assert names[:2] == ["plain-8", "plain-20"]
    assert "plain-20, constructed" in names
    assert {len(line) for line in done.stdout.splitlines()} == {len(head)}, "one under the other"
    assert "every number: --json" in done.stderr
    deep = resdeg("diagnose", "p", "--depths", 8, "--kinds", "identity").stdout
    assert "8" in deep
    assert "plain-20" not in deep
    diagnosed(planted(tmp_path / "few", CELLS))
    assert resdeg("diagnose", "few", "--depths", 8, "--seeds", 0).stdout.startswith("plain-d8-s0-")


def test_a_stopped_run_is_measured_at_its_step_when_asked(resdeg: Resdeg, sweep: SweepStore) -> None:
    folder, config = run_of(sweep, "residual-d8")
    summary = sweep.run(config.run_id).summary()
    stopped = summary.model_copy(update={"status": "stopped"})
    (folder / "summary.json").write_text(stopped.to_json())
    plainly = resdeg("diagnose", "s", "--kinds", "responses", "--images", 40)
    assert f"skipped, stopped: {config.run_id}" in plainly.stderr
    done = resdeg("diagnose", "s", "--kinds", "responses", "--images", 40, "--unfinished")
    assert done.returncode == 0
    assert {r.state for r in sweep.run(config.run_id).diagnostics()} == {"initial", 8}
    assert "step 8" in done.stdout


def test_snapshots_are_measured_between_the_two_ends(
    resdeg: Resdeg, tiny_run: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """Each as it was at its step, later than the others too; a damaged one is named and left out."""
    config = tiny_run("residual", training={"epochs": 4})
    store = swept_with(tmp_path / "s", config)
    run = store.run(config.run_id)
    first = resdeg("diagnose", "s", "--kinds", "responses", "--images", 40)
    assert "step" not in first.stdout
    shutil.rmtree(run.folder)
    execute(config, run, ON_CPU.model_copy(update={"snapshots": 3}))
    kept = dict(run.snapshots([]))
    (damaged,) = run.folder.glob("snapshots/000000016-*")
    damaged.write_bytes(b"rot")
    every = ("diagnose", "s", "--images", 40)
    assert resdeg(*every, "--kinds", "lesions").returncode == 0
    done = resdeg(*every)
    assert f"{config.run_id}: snapshots/{damaged.name} is damaged" in done.stderr
    damaged.write_bytes(kept[16])
    done = resdeg(*every)
    assert (done.returncode, "damaged" in done.stderr) == (0, False)
    table = [line.split() for line in done.stdout.splitlines()]
    at = [line for line in table if line[:2] == ["responses", "std"]]
    assert at == [["responses", "std", "initial", "40", *at[0][4:]]], "a number is named once"
    told = done.stdout[done.stdout.index("responses") :].splitlines()[:5]
    assert [re.search(r"initial|step \d+|final", line)[0] for line in told] == [
        "initial", "step 8", "step 16", "step 24", "final",
    ]  # fmt: skip
    states = {kind: set() for kind in DIAGNOSTICS}
    for record in run.diagnostics():
        states[record.kind].add(record.state)
    assert states.pop("lesions") == {"final"}
    assert all(found == {"initial", 8, 16, 24, "final"} for found in states.values())
    sample = Sample.from_dataset(data.load(config.data), 40)
    for step, tensors in kept.items():
        model = package.build_model("residual", 8, 0, config.model).eval()
        load_weights(model, tensors)
        stored = [r.value for r in run.diagnostics() if (r.kind, r.state) == ("responses", step)]
        assert stored == pytest.approx(response_std(model, sample.batches()).tolist(), rel=1e-5)


def test_a_constructed_net_is_measured_from_its_construction_on(tmp_path: Path, tiny_run) -> None:
    """Before that it is another, shallower one."""
    config = tiny_run("plain", 14, training={"epochs": 4}, constructed=ConstructedConfig(from_depth=8))
    run = SweepStore(tmp_path / "s").run(config.run_id)
    execute(config, run, ON_CPU.model_copy(update={"snapshots": 3}))
    assert [step for step, _ in run.snapshots([])] == [8, 16, 24]
    list(runner.diagnose(run, config, kinds=["responses"], images=40))
    measured = {r.state: r.layer for r in run.diagnostics() if r.kind == "responses"}
    assert measured == {24: 13, "final": 13}


@pytest.mark.parametrize(("steps", "layers"), [(5, {}), (16, {}), (19, {19: 13})])
def test_a_constructed_net_that_was_stopped_before_its_construction_is_not_measured(
    tmp_path: Path, tiny_run, steps: int, layers: dict[int, int]
) -> None:
    config = tiny_run("plain", 14, training={"epochs": 4}, constructed=ConstructedConfig(from_depth=8))
    run, seen = SweepStore(tmp_path / "s").run(config.run_id), [0]
    execute(config, run, ON_CPU, stop=lambda: seen[-1] >= steps, report=lambda each: seen.append(each.step))
    assert run.checkpoint()[0].step == steps
    notices: list[str] = []
    list(runner.diagnose(run, config, kinds=["responses"], images=40, warn=notices.append))
    assert {r.state: r.layer for r in run.diagnostics() if r.kind == "responses"} == layers
    assert bool(notices) == (not layers)


def test_other_data_than_the_nets_were_trained_on_is_refused(resdeg: Resdeg, sweep: SweepStore) -> None:
    folder, _ = run_of(sweep, "plain-d8")
    path = folder / "environment.json"
    tree = json.loads(path.read_text())
    tree["segments"][0]["data_hash"] = "f" * 64
    path.write_text(json.dumps(tree))
    done = resdeg("diagnose", "s", "--images", 40)
    assert done.returncode == 2
    assert "trained on data fffffffff, this is" in done.stderr


def test_two_at_once_do_not_lose_each_other_s_records(resdeg: Resdeg, sweep: SweepStore) -> None:
    with locks.locked(sweep.folder / "diagnose.lock"):
        done = resdeg("diagnose", "s", "--images", 40)
    assert done.returncode == 6
    assert "is busy" in done.stderr


@pytest.mark.parametrize("fault", [SystemExit(130), KeyboardInterrupt(), OSError(28, "No space left")])
def test_what_was_measured_stands_when_it_ends_early(
    sweep: SweepStore, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """A signal within a measure, or a full disk within a write: whole kinds stand, and the rest follows."""
    _, config = run_of(sweep, "plain-d8")
    kinds = ["responses", "identity"]

    def diagnose() -> list[runner.Measured]:
        return list(runner.diagnose(sweep.run(config.run_id), config, kinds=kinds, images=40))

    with monkeypatch.context() as patch:
        if isinstance(fault, OSError):
            calls = iter([None, fault])
            original = files._os_write

            def write(handle: int, content: bytes) -> None:
                if len(content) > 1000 and (error := next(calls, None)):
                    original(handle, content[:500])
                    raise error
                original(handle, content)

            patch.setattr(files, "_os_write", write)
        else:

            def stop(model, sample):
                raise fault

            patch.setitem(DIAGNOSTICS, "identity", Diagnostic(stop))
        with pytest.raises((type(fault), StorageError)):
            diagnose()
    records = sweep.run(config.run_id).diagnostics()
    assert [record.kind for record in records] == ["responses"] * 7
    assert not list(sweep.run(config.run_id).folder.glob(".*tmp*"))
    assert [(m.kind, m.state) for m in diagnose()] == [
        ("identity", "initial"), ("responses", "final"), ("identity", "final"),
    ]  # fmt: skip


def test_instance_norms_are_measured_as_they_were_trained(tmp_path: Path, tiny_run) -> None:
    """By each image's own statistics, and the records say so; in evaluation mode the answers differ."""
    config = tiny_run("residual", 8, model={"block": "stargan"}, training={"epochs": 1})
    store = SweepStore(tmp_path / "s")
    execute(config, store.run(config.run_id), ON_CPU)
    list(runner.diagnose(store.run(config.run_id), config, kinds=["responses", "probes"], images=40))
    records = store.run(config.run_id).diagnostics()
    notes = {record.kind: record.note for record in records}
    assert notes == {
        "responses": "each image's own statistics",
        "probes": "fitted on 200 training images; each image's own statistics",
    }
    model = package.load_model(store.run(config.run_id).folder)
    sample = Sample.from_dataset(data.load(config.data), 40)
    stored = [r.value for r in records if r.kind == "responses" and r.state == "final"]
    with image_statistics(model):
        assert stored == pytest.approx(response_std(model, sample.batches()).tolist(), rel=1e-5)
    assert stored != pytest.approx(response_std(model, sample.batches()).tolist(), rel=1e-2)
