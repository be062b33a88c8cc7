"""`resdeg adopt` and `resdeg export-weights`, and what the other commands say of adopted runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import resdeg as public
from resdeg import data
from resdeg.analysis.anchors import check_protocol, compare
from resdeg.analysis.frame import load_sweep
from resdeg.config import SweepConfig, read_toml, validate
from resdeg.data.augment import Standardiser
from resdeg.errors import UsageError
from resdeg.models.foreign import exported
from resdeg.models.weights_file import write_weights
from resdeg.report.text import describe_runs
from resdeg.runner import check, execute
from resdeg.runner.adopting import read_network
from resdeg.store import RunStore, SweepStore
from tests.adopt.networks import SMALL, arbitrary
from tests.adopt.test_layouts import same_bits
from tests.conftest import ON_CPU, TINY
from tests.data.drawn import draw_folder

CPU = torch.device("cpu")
LITTLE = ["--data", "hierarchy"]
for _name, _value in TINY.model_dump().items():
    LITTLE += ["--set", f"data.hierarchy.{_name}={_value}"]
INPUT = ["--mean", "0.5", "--std", "0.25"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A residual network of depth 8 under akamaster's names."""
    path = tmp_path / "someone" / "w.safetensors"
    write_weights(path, exported(arbitrary("residual", 8), "residual", SMALL, "akamaster"))
    return path


def adopt(resdeg: Any, path: Path, *more: object, family: str = "residual") -> Path:
    done = resdeg("adopt", path, "--family", family, *LITTLE, *more)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_a_run_that_was_exported_and_adopted_is_the_trained_one(
    resdeg: Any, tmp_path: Path, tiny_run: Any
) -> None:
    config = tiny_run("residual", training={"epochs": 1})
    store = SweepStore(tmp_path / "trained").run(config.run_id)
    trained = execute(config, store, ON_CPU)
    batches = ["--set", "training.batch_size=32"]  # of which statistics are recomputed
    for layout, ending in (("akamaster", "pt"), ("a-martyn", "safetensors")):
        out = tmp_path / layout / f"w.{ending}"
        done = resdeg("export-weights", store.folder, "--layout", layout, "--out", out)
        assert (done.returncode, done.stdout.strip()) == (0, str(out)), done.stderr
        folder = tmp_path / adopt(resdeg, out, "--own-input", "--depth", "8", *batches)
        assert folder == tmp_path / "results" / "local" / f"adopted-{layout}"
        (run_id,) = SweepStore(folder).run_ids()
        adopted = SweepStore(folder).run(run_id)
        assert same_bits(public.load_model(adopted.folder), public.load_model(store.folder))
        summary = adopted.summary()
        for name in ("test_loss", "train_loss", "recomputed_train_loss", "test_accuracy", "train_accuracy"):
            assert getattr(summary, name) == pytest.approx(getattr(trained, name), abs=1e-6)
        assert (summary.status, summary.running_train_accuracy) == ("finished", None)
        (record,) = adopted.metrics()
        assert (record.test_loss, record.train_accuracy) == (summary.test_loss, None)
        origin = adopted.origin()
        assert (origin.file, origin.layout, origin.source) == (out.name, layout, layout)
        assert origin.sha256 == read_network(out, family="residual").sha256
        assert origin.bytes == out.stat().st_size


def test_the_input_is_standardised_as_the_source_says(resdeg: Any, weights: Path, tmp_path: Path) -> None:
    three = ["--mean", "0.1,0.2,0.3", "--std", "0.4,0.5,0.6"]
    folder = tmp_path / adopt(resdeg, weights, *three)
    (run,) = [store.config() for store in map(SweepStore(folder).run, SweepStore(folder).run_ids())]
    dataset = data.load(run.data)
    standardise = Standardiser.from_split(dataset.train, CPU, adopted=run.adopted)
    pixels = torch.from_numpy(dataset.test.images[:5])
    expected = (pixels.float() / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.4, 0.5, 0.6])
    torch.testing.assert_close(standardise(pixels), expected.permute(0, 3, 1, 2))
    # And the loss that was stored is that of this input.
    images = standardise(torch.from_numpy(dataset.test.images))
    with torch.no_grad():
        logits = read_network(weights, family="residual").network.model(images)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(dataset.test.labels).long())
    assert SweepStore(folder).run(run.run_id).summary().test_loss == pytest.approx(float(loss), rel=1e-5)


def test_status_plot_report_and_diagnose_say_adopted(resdeg: Any, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    status = resdeg("status")
    assert status.stdout.splitlines()[0].endswith("1 finished; adopted from someone, not trained here")
    assert json.loads(resdeg("status", "--json").stdout)["adopted"] == "someone"
    for kind in ("curve", "training"):
        drawn = resdeg("plot", "--kind", kind, "--out", f"{kind}.svg")
        assert drawn.returncode == 0, drawn.stderr
        assert "adopted from someone, not trained here" in (tmp_path / f"{kind}.svg").read_text()
    assert resdeg("report").returncode == 0
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "adopted from someone, not trained here: how they were trained is not known" in text
        assert "Every verdict speaks for weights adopted from someone, length not known" in text
        assert "younger than these records" in text
        assert "recipe short" not in text
    measured = resdeg("diagnose", "--kinds", "responses")
    assert measured.returncode == 0, measured.stderr
    assert "adopted from someone" in measured.stderr
    (run_id,) = SweepStore(folder).run_ids()
    assert {record.state for record in SweepStore(folder).run(run_id).diagnostics()} == {"final"}
    drawn = resdeg("plot", "--kind", "responses", "--out", "responses.svg")
    assert drawn.returncode == 0, drawn.stderr
    assert "adopted from someone" in (tmp_path / "responses.svg").read_text()
    assert "registration" not in (folder / "sweep.toml").read_text()


def test_diagnose_measures_on_the_input_of_the_source(resdeg: Any, weights: Path, tmp_path: Path) -> None:
    values = []
    for number, given in enumerate((INPUT, ["--mean", "0.1", "--std", "0.9"])):
        folder = tmp_path / adopt(resdeg, weights, *given, "--out", f"s{number}")
        assert resdeg("diagnose", folder, "--kinds", "lesions").returncode == 0
        (run_id,) = SweepStore(folder).run_ids()
        run = SweepStore(folder).run(run_id)
        (loss,) = [r.value for r in run.diagnostics() if r.name == "intact_loss"]
        assert loss == pytest.approx(run.summary().test_loss, rel=1e-5)
        values.append(loss)
    assert values[0] != pytest.approx(values[1], rel=1e-3)


def test_runs_of_a_source_stand_in_one_grid(resdeg: Any, tmp_path: Path) -> None:
    paths = []
    for family, depth in (("plain", 8), ("residual", 8), ("residual", 14)):
        paths.append(tmp_path / "someone" / f"{family}{depth}.safetensors")
        write_weights(paths[-1], exported(arbitrary(family, depth), family, SMALL, "a-martyn"))
    for path, family in zip(paths, ("plain", "residual", "residual"), strict=True):
        folder = tmp_path / adopt(resdeg, path, *INPUT, family=family)
        status = json.loads(resdeg("status", folder, "--json").stdout)
        assert status["counts"] == {"finished": len(status["rows"])}
    assert len(status["rows"]) == 3
    plan = validate(SweepConfig, {"": read_toml(folder / "sweep.toml")})
    assert (plan.depths, plan.families) == ((8,), ("plain", "residual"))  # plain-14 is not there
    assert len(load_sweep(folder).runs) == 3


def test_the_same_file_again_is_not_measured_again_and_another_is_refused(
    resdeg: Any, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    store = SweepStore(folder)
    (run_id,) = store.run_ids()
    before = {path: path.read_bytes() for path in sorted(store.run(run_id).folder.rglob("*.json*"))}
    adopt(resdeg, weights, *INPUT)
    assert {path: path.read_bytes() for path in sorted(store.run(run_id).folder.rglob("*.json*"))} == before
    write_weights(weights, exported(arbitrary("residual", 8, seed=1), "residual", SMALL, "akamaster"))
    done = resdeg("adopt", weights, "--family", "residual", *LITTLE, *INPUT)
    assert (done.returncode, "holds other weights" in done.stderr) == (2, True)
    adopt(resdeg, weights, *INPUT, "--seed", "1")
    assert len(store.run_ids()) == 2
    done = resdeg("adopt", weights, "--family", "residual", *LITTLE, "--own-input")
    assert (done.returncode, "sweep of other settings" in done.stderr) == (2, True)


@pytest.mark.parametrize("checkpoint", ["freed", "damaged"])
def test_a_run_without_a_checkpoint_keeps_its_records_when_it_is_adopted_again(
    resdeg: Any, weights: Path, tmp_path: Path, checkpoint: str
) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    (run_id,) = SweepStore(folder).run_ids()
    run = SweepStore(folder).run(run_id)
    if checkpoint == "freed":
        shutil.rmtree(run.folder / "checkpoint")
    else:
        (run.folder / "checkpoint" / "a.safetensors").write_bytes(b"rot")
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    done = resdeg("adopt", weights, "--family", "residual", *LITTLE, *INPUT)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    assert ("a.safetensors is damaged" in done.stderr) == (checkpoint == "damaged")


def test_what_was_cut_short_is_measured_to_its_end(resdeg: Any, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    (run_id,) = SweepStore(folder).run_ids()
    run = SweepStore(folder).run(run_id)
    before, metrics = run.summary(), (run.folder / "metrics.jsonl").read_bytes()
    (run.folder / "summary.json").unlink()
    adopt(resdeg, weights, *INPUT)
    assert run.summary().train_loss == before.train_loss
    assert (run.folder / "metrics.jsonl").read_bytes() == metrics


def test_a_damaged_checkpoint_of_a_run_that_was_cut_short_is_told(
    resdeg: Any, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    (run_id,) = SweepStore(folder).run_ids()
    run = SweepStore(folder).run(run_id)
    metrics = (run.folder / "metrics.jsonl").read_bytes()
    (run.folder / "summary.json").unlink()
    (run.folder / "checkpoint" / "a.safetensors").write_bytes(b"rot")
    done = resdeg("adopt", weights, "--family", "residual", *LITTLE, *INPUT)
    assert (done.returncode, "no usable checkpoint, starting over" in done.stderr) == (0, True), done.stderr
    assert (run.folder / "metrics.jsonl").read_bytes() == metrics


def test_an_adopted_run_is_never_trained_and_in_no_mean_with_a_trained_one(
    resdeg: Any, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    for more in ([], ["--dry-run"], ["--fresh"]):
        done = resdeg("sweep", folder / "sweep.toml", "--out", folder, *more)
        assert (done.returncode, "never trained" in done.stderr) == (2, True), done.stderr
    (run_id,) = SweepStore(folder).run_ids()
    run = SweepStore(folder).run(run_id).config()
    with pytest.raises(UsageError, match="never trained"):
        check(run, CPU)
    trained = run.model_copy(update={"adopted": None})
    others = [{"source": "other"}, {"schedule_known": True}, {"mean": (0.5, 0.5, 0.4)}]
    runs = [run, trained, *(
        run.model_copy(update={"adopted": run.adopted.model_copy(update=changes)}) for changes in others
    )]  # fmt: skip
    assert len({each.settings_id for each in runs}) == len(runs)


def test_two_sweeps_of_which_one_has_no_known_schedule_are_not_drawn_together(
    resdeg: Any, weights: Path, tmp_path: Path
) -> None:
    unknown = adopt(resdeg, weights, *INPUT, "--out", "unknown")
    known = adopt(resdeg, weights, *INPUT, "--out", "known", "--epochs", "10")
    other = adopt(resdeg, weights, *INPUT, "--out", "other", "--epochs", "11")
    done = resdeg("plot", known, unknown, "--out", "a.svg")
    assert (done.returncode, "unknown is adopted from someone" in done.stderr) == (2, True)
    done = resdeg("plot", known, other, "--out", "a.svg")
    assert (done.returncode, "draw them one by one" in done.stderr) == (2, True)
    assert "10 epochs" in describe_runs(load_sweep(tmp_path / known))


def test_anchors_set_the_paper_s_schedule_beside_the_published_numbers_and_no_other(
    resdeg: Any, weights: Path, tmp_path: Path
) -> None:
    folder = adopt(resdeg, weights, *INPUT)
    done = resdeg("anchors", folder)
    assert (done.returncode, "adopted from someone, and how" in done.stderr.replace("\n", " ")) == (2, True)
    sweep = load_sweep(tmp_path / folder)
    tree = sweep.config.model_dump(exclude_none=True, exclude={"data", "model", "training"})
    tree["adopted"]["schedule_known"] = True

    def planned(epochs: int) -> SweepConfig:
        training = {"recipe": "he2015", "epochs": epochs, "schedule": "steps"}
        return validate(SweepConfig, {"": {**tree, "training": training}})

    check_protocol("s", planned(164))
    for epochs in (163, 165, 200):
        with pytest.raises(UsageError, match=f"its length is {epochs} epochs"):
            check_protocol("s", planned(epochs))
    with pytest.raises(UsageError, match="its length is 164 epochs"):  # of a training here every step counts
        check_protocol("s", planned(164).model_copy(update={"adopted": None}))
    with pytest.raises(UsageError, match=r"s \(adopted from someone\) is not set beside"):
        check_protocol("s", planned(200))
    comparison = compare(replace(sweep, config=planned(164)))
    assert comparison.adopted == "someone"
    assert comparison.protocol.startswith("adopted from someone, not trained here: 164 epochs")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--mean and --std, or --own-input"),
        (["--mean", "0.5"], "--std is missing"),
        (["--mean", "0.5,0.5", "--std", "1"], "not one number or three"),
        (["--mean", "0.5", "--std", "0"], "not above 0"),
        (["--mean", "nan", "--std", "1"], "adopted.mean"),
        (["--own-input", "--mean", "0.5"], "--mean and --std, or --own-input"),
        (["--own-input", "--depth", "8,14"], "one depth"),
        (["--own-input", "--padding", "left"], "--padding left is not known"),
        (["--own-input", "--from", "x"], "--from is for a-martyn"),
        (["--own-input", "--set", "model.norm=none"], "set only training.* and data.*"),
        (["--own-input", "--source", "a b/c"], ""),
        (["--own-input", "--source", "/"], "adopted.source"),
    ],
)
def test_what_a_file_needs_is_asked_for(arguments: list[str], said: str, resdeg: Any, weights: Path) -> None:
    done = resdeg("adopt", weights, "--family", "residual", *LITTLE, *arguments)
    assert done.returncode == (2 if said else 0), done.stderr
    assert said in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_other_classes_than_the_images_have_are_refused(resdeg: Any, tmp_path: Path) -> None:
    named = exported(arbitrary("residual", 8), "residual", SMALL, "akamaster")
    named |= {"linear.weight": torch.ones(7, 32), "linear.bias": torch.ones(7)}
    write_weights(tmp_path / "w.pt", named)
    done = resdeg("adopt", tmp_path / "w.pt", "--family", "residual", "--own-input")
    assert (done.returncode, "has 7 classes, cifar10 has 10" in done.stderr.replace("\n", " ")) == (2, True)
    draw_folder(tmp_path / "pics")
    done = resdeg("adopt", "w.pt", "--family", "residual", "--own-input", "--data", "folder:pics")
    assert (done.returncode, "has 7 classes, folder has 3" in done.stderr.replace("\n", " ")) == (2, True)


def test_json_has_the_folder_and_the_summaries(resdeg: Any, weights: Path) -> None:
    done = resdeg("adopt", weights, "--family", "residual", *LITTLE, *INPUT, "--json")
    page = json.loads(done.stdout)
    assert page["folder"] == "results/local/adopted-someone"
    assert [run["status"] for run in page["runs"]] == ["finished"]


def test_what_cannot_be_exported_says_so(resdeg: Any, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / adopt(resdeg, weights, *INPUT)
    (run_id,) = SweepStore(folder).run_ids()
    run = RunStore(folder / "runs" / run_id).folder
    for arguments, code, said in (
        (("--layout", "akamster", "--out", "w.pt"), 2, "did you mean 'akamaster'"),
        (("--layout", "akamaster", "--out", "w.bin"), 2, "the name is not that of a file of weights"),
    ):
        done = resdeg("export-weights", run, *arguments)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    done = resdeg("export-weights", run, "--layout", "torchvision", "--out", "w.pt", "--json")
    assert json.loads(done.stdout) == {"file": "w.pt", "layout": "torchvision"}
    done = resdeg("export-weights", tmp_path, "--layout", "akamaster", "--out", "w.pt")
    assert (done.returncode, "config.json" in done.stderr) == (5, True)
