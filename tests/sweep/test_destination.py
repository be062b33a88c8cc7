"""The folder of a sweep: its default name, where a sweep goes on, and what another sweep's folder refuses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from resdeg.config import SweepConfig, resolve
from resdeg.errors import UsageError
from resdeg.store import SweepStore
from resdeg.sweep.destination import check_folder, resolve_sweep
from tests.planted import CELLS, planted

ROOT = Path(__file__).parents[2]
LOCAL = "results/local"
GELU = ["model.activation=gelu"]
WIDE = {"wide": {"families": "plain", "model": {"width": 2.0}}}


def named(file: str | None = None, assignments: list[str] | None = None, **flags: object) -> str:
    path = None if file is None else ROOT / "configs" / file
    return str(resolve_sweep(path, {}, assignments or [], flags)[1])


@pytest.mark.parametrize(
    ("folder", "chosen"),
    [
        ("cifar10-short", {}),
        ("cifar10-short", {"depths": [8], "seeds": [3], "families": "plain", "execution": {"jobs": 2}}),
        ("cifar10-short", {"assignments": ["claims.depth=20"]}),
        ("cifar10-short", {"file": "short.toml"}),
        ("cifar10-short", {"file": "short.toml", "seeds": [7]}),
        ("cifar10-he2015", {"file": "he2015.toml"}),
        ("cifar10-he2015", {"training": {"recipe": "he2015"}}),
        ("hierarchy-demo", {"data": {"name": "hierarchy"}, "training": {"recipe": "demo"}}),
        ("cifar10-short-lr-0.05", {"training": {"lr": 0.05}}),
        ("cifar10-short-steps-20", {"training": {"steps": 20}}),
        ("cifar10-short-activation-gelu", {"assignments": GELU}),
        ("cifar10-short-norm-none-epochs-3", {"assignments": ["model.norm=none"], "training": {"epochs": 3}}),
        ("cifar10-short-fused-false", {"assignments": ["training.fused=false"]}),
        ("cifar10-short-precision-bf16", {"file": "short.toml", "training": {"precision": "bf16"}}),
        ("hierarchy-demo-hierarchy-seed-1", {
            "data": {"name": "hierarchy"}, "training": {"recipe": "demo"},
            "assignments": ["data.hierarchy.seed=1"],
        }),
        ("cifar10-short-epochs-3", {"file": "short.toml", "training": {"epochs": 3}}),
        ("cifar10-he2015", {"file": "short.toml", "training": {"recipe": "he2015"}}),
        ("stargan", {"file": "stargan.toml"}),
        ("stargan", {"file": "stargan.toml", "depths": [2, 8], "seeds": [1]}),
        ("stargan-epochs-3", {"file": "stargan.toml", "training": {"epochs": 3}}),
        ("stargan-he2015", {"file": "stargan.toml", "training": {"recipe": "he2015"}}),
        ("stargan-cifar100", {"file": "stargan.toml", "data": {"name": "cifar100"}}),
        ("why", {"file": "why.toml"}),
        ("cifar10", {"file": "cifar10.toml"}),
        ("demo", {"file": "demo.toml"}),
        ("causes-demo", {"file": "causes-demo.toml"}),
    ],
)  # fmt: skip
def test_the_default_folder_says_what_is_different(folder: str, chosen: dict[str, object]) -> None:
    assert named(**chosen) == f"{LOCAL}/{folder}"


def test_other_settings_never_share_a_default_folder() -> None:
    changes = [
        "training.lr=0.05", "training.lr=0.050001", "training.schedule=constant", "training.flip=false",
        "model.norm=none", "model.width=0.5", "data.validation=100", "training.threads=2",
    ]  # fmt: skip
    folders = [named(file, [change]) for file in (None, "stargan.toml") for change in changes]
    assert len({*folders, named(), named("stargan.toml")}) == len(folders) + 2
    both = ["model.norm=none", "training.lr=0.05"]
    assert named(None, both) == named(None, both[::-1]), "whatever the order of the options"


def test_many_differences_and_odd_values_give_a_name_that_is_one_folder() -> None:
    many = [f"training.{setting}" for setting in ("lr=0.123", "momentum=0.8", "weight_decay=0.5", "pad=3")]
    config, folder = resolve_sweep(None, {}, [*many, "training.flip=false", "model.width=0.125"], {})
    assert str(folder) == f"{LOCAL}/cifar10-short-{config.settings_id}"
    assert named(None, ["model.block=../x y/z"]) == f"{LOCAL}/cifar10-short-block-..-x-y-z"


def test_a_file_that_needs_its_options_has_a_folder_too(tmp_path: Path) -> None:
    path = tmp_path / "built.toml"
    path.write_text("[constructed]\nfrom_depth = 20\n[training]\nprecision = 'bf16'\n")
    given = {"families": "plain", "depths": [56], "training": {"precision": "fp32"}}
    config, folder = resolve_sweep(path, {}, [], given)
    assert str(folder) == f"{LOCAL}/built-{config.settings_id}"


# ---------------------------------------------------------------- where a sweep goes on


def test_a_sweep_goes_on_in_its_folder(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    for given in (store.folder, store.plan):
        config, folder = resolve_sweep(given, {}, [], {"seeds": [9]})
        assert folder == store.folder
        assert (config.seeds, config.training.epochs) == ((9,), 2)
        assert resolve_sweep(given, {}, [], {}, out=tmp_path / "t")[1] == tmp_path / "t"
    shutil.copy(store.plan, tmp_path / "sweep.toml")
    shutil.copy(store.plan, store.folder / "mine.toml")
    for given, name in ((tmp_path / "sweep.toml", "sweep"), (store.folder / "mine.toml", "mine")):
        assert str(resolve_sweep(given, {}, [], {})[1]) == f"{LOCAL}/{name}"


@pytest.mark.parametrize("name", ["nothing", "only-a-plan", "only-runs"])
def test_a_folder_that_is_no_sweep_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if name == "only-a-plan":
        (folder / "sweep.toml").write_text("depths = [8]\n")
    if name == "only-runs":
        (folder / "runs").mkdir()
    with pytest.raises(UsageError, match=f"{name} holds no sweep"):
        resolve_sweep(folder, {}, [], {})


# ---------------------------------------------------------------- what a folder refuses


def settings(*assignments: str, **flags: object) -> SweepConfig:
    return resolve(None, {}, list(assignments), {"training": {"epochs": 2}, **flags})


def refused(config: SweepConfig, store: SweepStore) -> tuple[str, str]:
    """What the refusal says, and the folder that it proposes."""
    with pytest.raises(UsageError) as error:
        check_folder(config, store)
    return error.value.what, error.value.remedy.partition("--out ")[2]


def test_another_grid_or_arm_of_the_same_settings_joins(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS, arms=WIDE)
    for config in (
        settings(),
        settings(depths=[110], seeds=[9], families="plain"),
        settings(arms=WIDE),
        settings(arms={"wide": {"families": "residual", "depths": [8], "model": {"width": 2.0}}}),
        settings(arms={"narrow": {"model": {"width": 0.5}}}),
        settings(execution={"jobs": 3, "order": "seed", "snapshots": 2}, claims={"depth": 20}),
    ):
        check_folder(config, store)
    check_folder(settings("model.norm=none"), SweepStore(tmp_path / "new"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "training.epochs=3",
            "training.epochs is 2 there and 3 here; "
            "another length trains anew, because the rate of every step is scaled to it",
        ),
        ("model.norm=none", "model.norm is batch there and none here"),
        ("model.inner_activation=none", "model.inner_activation is none there and none here"),
        ("training.flip=false", "training.flip is true there and false here"),
        ("training.fused=false", "training.fused is true there and false here"),
        ("arms.wide.model.width=3.0", "arms.wide.model.width is 2.0 there and 3.0 here"),
        ("arms.wide.training.lr=0.2", "arms.wide.training.lr is 0.1 there and 0.2 here"),
    ],
)
def test_a_difference_is_named(tmp_path: Path, change: str, says: str) -> None:
    store = planted(tmp_path / "s", CELLS, arms=WIDE)
    tables = {} if change.startswith("training.epochs") else {"training": {"epochs": 2}}
    config = resolve(None, {}, [change], {"arms": WIDE, **tables} if "arms" not in change else tables)
    if "arms" in change:
        config = resolve(None, {}, ["arms.wide.families=plain", "arms.wide.model.width=2.0", change], tables)
    what, free = refused(config, store)
    assert what == f"{store.folder} holds a sweep of other settings: {says}"
    assert Path(free).parent == tmp_path
    assert not Path(free).exists()


def test_differences_in_tables_are_named_by_their_keys_and_many_are_counted(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS, data={"name": "hierarchy", "hierarchy": {"cell": 1}})
    what, free = refused(settings(data={"name": "hierarchy", "hierarchy": {"seed": 4}}), store)
    assert what.endswith(
        ": data.hierarchy.cell is 1 there and 2 here; data.hierarchy.seed is 0 there and 4 here"
    )
    assert Path(free).name == "s-hierarchy-cell-2-hierarchy-seed-4"
    what, _ = refused(settings(), store)
    assert "data.name is hierarchy there and cifar10 here" in what
    assert re.search(r"and \d+ more$", what)


def test_the_proposed_folder_is_free(tmp_path: Path) -> None:
    store, config = planted(tmp_path / "a b", CELLS), settings("training.lr=0.2")
    free = [refused(config, store)[1].strip("'")]
    for _ in range(2):
        Path(free[-1]).mkdir()
        free.append(refused(config, store)[1].strip("'"))
    assert [Path(path).name for path in free] == [
        "a b-lr-0.2", "a b-lr-0.2-2", "a b-lr-0.2-3",
    ]  # fmt: skip


def test_the_folder_in_which_one_stands_has_a_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = planted(tmp_path / "s", CELLS)
    for inside, here in ((store.folder, "."), (store.folder / "runs", "..")):
        monkeypatch.chdir(inside)
        assert refused(settings("training.lr=0.2"), SweepStore(Path(here)))[1] == f"{tmp_path}/s-lr-0.2"


@pytest.mark.parametrize("damage", ["lost", "torn"])
def test_without_a_plan_the_runs_speak(tmp_path: Path, damage: str) -> None:
    store = planted(tmp_path / "s", CELLS)
    if damage == "lost":
        store.plan.unlink()
    else:
        store.plan.write_text(store.plan.read_text()[:-20] + "[[")
    check_folder(settings(seeds=[7]), store)
    assert "training.lr is 0.1 there and 0.2 here" in refused(settings("training.lr=0.2"), store)[0]


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*/sweep.toml")), ids=lambda path: path.parent.name)
def test_what_is_published_goes_on_where_it_lies(path: Path) -> None:
    """Plans that were written before some settings were there are among them."""
    for given in (path, path.parent):
        config, folder = resolve_sweep(given, {}, [], {})
        assert folder == path.parent
        check_folder(config, SweepStore(folder))
        grid = {"families": "residual", "depths": "20", "seeds": "99"}
        config, folder = resolve_sweep(given, {}, [], grid, single=True)
        assert (len(config.runs()), folder) == (1, path.parent)
        check_folder(config, SweepStore(folder))
