"""The networks that others published, as far as their files are here."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from resdeg import data
from resdeg.config import AdoptedConfig, DataConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.config.recipes import recipe
from resdeg.errors import DataError
from resdeg.models.foreign import exported, recognise
from resdeg.models.weights_file import read_weights, write_weights
from resdeg.runner.adopting import load_adopted, read_network
from resdeg.runner.published import PUBLISHED, Published, PublishedFile, locate
from tests.adopt.networks import AkamasterNet, images
from tests.adopt.test_layouts import same_bits
from tests.served import serving

ERRORS = {  # of 10,000 test images, wrong ones
    "a-martyn": {
        "plain": {20: 969, 32: 1004, 44: 1156, 56: 1308},
        "residual": {20: 804, 32: 779, 44: 751, 56: 745},
    },
    "akamaster": {"residual": {20: 827, 32: 737, 44: 690, 56: 661}},
}
FILES = [(source, file) for source in PUBLISHED.values() for file in source.files]


def config(source: str, family: str, depth: int) -> RunConfig:
    publication = PUBLISHED[source]
    settings = {**recipe("he2015"), "steps": None, **publication.training}
    return RunConfig(
        family=family,
        depth=depth,
        seed=0,
        data=DataConfig(),
        model=ModelConfig(),
        training=TrainingConfig(**settings),
        adopted=AdoptedConfig(
            source=source, mean=publication.mean, deviation=publication.deviation, schedule_known=True
        ),
    )


def test_the_table_names_every_file_once() -> None:
    named = {(source.name, file.family, file.depth) for source, file in FILES}
    assert named == {(s, f, d) for s, families in ERRORS.items() for f, ds in families.items() for d in ds}
    assert len({file.sha256 for _, file in FILES}) == len(FILES) == 12


@pytest.mark.nets
@pytest.mark.parametrize(("source", "file"), FILES, ids=lambda each: each.name)
def test_every_published_file_is_there_and_recognised(source: Any, file: Any, nets_folder: Path) -> None:
    path = locate(source, file, folder=nets_folder, offline=True, say=lambda line: None)
    assert path.stat().st_size == file.bytes
    network = read_network(path, family=file.family, depth=file.depth).network
    assert (network.layout, network.depth, network.classes) == (source.name, file.depth, 10)
    assert network.config == ModelConfig()


@pytest.mark.nets
@pytest.mark.cifar
@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "family"), [("a-martyn", "plain"), ("a-martyn", "residual"), ("akamaster", "residual")]
)
def test_depth_20_has_its_published_error(
    source: str, family: str, nets_folder: Path, cifar_folder: Path
) -> None:
    file = next(f for f in PUBLISHED[source].files if (f.family, f.depth) == (family, 20))
    path = locate(PUBLISHED[source], file, folder=nets_folder, offline=True, say=lambda line: None)
    run = config(source, family, 20)
    dataset = data.load(run.data, cifar_folder)
    trainer = load_adopted(run, read_network(path, family=family), dataset=dataset)
    score = trainer.score("test", trainer.inputs.held["test"])["test"]
    assert round(10_000 * (1 - score.accuracy)) == ERRORS[source][family][20]


@pytest.mark.nets
def test_akamaster_s_weights_give_the_logits_of_his_own_definition(nets_folder: Path) -> None:
    named = read_weights(nets_folder / "akamaster" / "resnet20-12fca82f.th")
    theirs = AkamasterNet(3).eval()
    theirs.load_state_dict(named)
    network = recognise("w", named, "residual")
    with torch.no_grad():
        torch.testing.assert_close(network.model(images(32)), theirs(images(32)), atol=1e-4, rtol=0)


@pytest.mark.nets
@pytest.mark.parametrize(
    "name", ["a-martyn/plainnet20.pt", "a-martyn/resnet56.pt", "akamaster/resnet20-12fca82f.th"]
)
@pytest.mark.parametrize("layout", ["torchvision", "akamaster", "a-martyn"])
def test_published_weights_come_back_from_every_layout(
    name: str, layout: str, nets_folder: Path, tmp_path: Path
) -> None:
    family = "plain" if "plain" in name else "residual"
    named = read_weights(nets_folder / name)
    network = recognise(name, named, family)
    write_weights(tmp_path / "w.safetensors", exported(network.model, family, network.config, layout))
    again = recognise(
        "w",
        read_weights(tmp_path / "w.safetensors"),
        family,
        padding=None if layout != "torchvision" else "behind",
    )
    assert same_bits(again.model, network.model)
    if layout == network.layout:  # and what is written is what was read
        back = read_weights(tmp_path / "w.safetensors")
        assert all(torch.equal(back[key], named[key]) for key in back)
        assert {key for key in named if not key.endswith("num_batches_tracked")} == back.keys()


def test_what_is_not_the_published_file_is_refused(tmp_path: Path) -> None:
    source = PUBLISHED["a-martyn"]
    file = source.files[0]
    with pytest.raises(DataError, match="is not there"):
        locate(source, file, folder=tmp_path, offline=True, say=lambda line: None)
    (tmp_path / source.name).mkdir()
    (tmp_path / source.name / file.name).write_bytes(b"x" * file.bytes)
    with pytest.raises(DataError, match="not the published file"):
        locate(source, file, folder=tmp_path, offline=True, say=lambda line: None)
    with pytest.raises(DataError, match="downloads are off") as refusal:
        locate(source, file, folder=None, offline=True, say=lambda line: None)
    assert source.address(file) in refusal.value.remedy
    assert source.commit in source.address(file)


@pytest.mark.nets
def test_a_file_in_the_cache_is_not_fetched_again(nets_folder: Path, tmp_path: Path) -> None:
    source = PUBLISHED["akamaster"]
    file = source.files[0]
    cached = tmp_path / "cache" / "nets" / source.name
    cached.mkdir(parents=True)
    shutil.copy(nets_folder / source.name / file.name, cached)
    assert locate(source, file, folder=None, offline=True, say=pytest.fail) == cached / file.name


def test_a_file_is_fetched_once_and_verified(tmp_path: Path) -> None:
    """Of a scripted server; what is no file of weights by its first bytes is not taken."""
    content = b"\x80\x02" + bytes(range(256)) * 40
    lines: list[str] = []
    scripts = {
        "good": lambda handler: handler.wfile.write(handler.rest(content)),
        "other": lambda handler: handler.wfile.write(handler.rest(b"\x1f\x8b" + content[2:])),
    }
    with serving(**scripts) as server:
        digest = hashlib.sha256(content).hexdigest()
        file = PublishedFile("plain", 20, "w.pt", len(content), digest)

        def source(path: str) -> Published:
            return There(**vars(replace(PUBLISHED["a-martyn"], name=path)))

        class There(Published):
            def address(self, file: PublishedFile) -> str:
                return server.url(f"/{self.name}")

        for _ in range(2):
            path = locate(source("good"), file, folder=None, offline=False, say=lines.append)
            assert path.read_bytes() == content
        with pytest.raises(DataError, match="does not send a file of weights"):
            locate(source("other"), file, folder=None, offline=False, say=lines.append)
        assert [asked for asked, _ in server.asked].count("/good") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a-martyn", "--mean", "0.5"), "--mean is for a file"),
        (("a-martyn", "--seed", "0"), "--seed is for a file"),
        (("akamaster", "--family", "plain"), "has not published"),
        (("a-martyn", "--depth", "20,26"), "has not published"),
        (("a-martyn", "--family", "plane"), "--family plane is not known"),
        (("a-martin",), "a-martin: no such file"),
    ],
)
def test_a_source_has_what_it_has(arguments: tuple[str, ...], said: str, resdeg: Any) -> None:
    own_input = ("--own-input",) if arguments == ("a-martin",) else ()
    done = resdeg("adopt", *arguments, *own_input)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_without_files_a_source_is_data_that_is_missing(resdeg: Any) -> None:
    done = resdeg("adopt", "a-martyn", "--depth", "20")
    assert done.returncode == 4
    assert "plainnet20.pt of a-martyn is not there" in done.stderr
    assert "--from DIR" in done.stderr


PUBLICATIONS = Path(__file__).parents[2] / "results" / "published-nets"


@pytest.mark.parametrize("source", sorted(path.parent.name for path in PUBLICATIONS.glob("*/runs.csv")))
def test_the_published_folder_has_the_table_to_the_digit(source: str) -> None:
    """Wrong test images of every network that was adopted, from runs.csv."""
    runs = pd.read_csv(PUBLICATIONS / source / "runs.csv")
    assert set(runs["status"]) == {"finished"}
    wrong: dict[str, dict[int, int]] = {}
    for run in runs.to_dict("records"):
        wrong.setdefault(run["family"], {})[run["depth"]] = round(10_000 * (1 - run["test_accuracy"]))
    assert wrong == ERRORS[source]
