"""Settings: identity, grammar, and what is said of a mistake."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from resdeg.config import (
    AFFECTS_RESULT,
    LEAVES_RESULT,
    NEUTRAL,
    DataConfig,
    RunConfig,
    SweepConfig,
    check_depth,
    merge,
    parse_assignment,
    parse_depths,
    parse_seeds,
    read_toml,
    resolve,
    validate,
)
from resdeg.errors import UsageError


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += leaves(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def test_each_setting_of_a_run_stands_in_exactly_one_list() -> None:
    assert sorted(leaves(RunConfig)) == sorted(AFFECTS_RESULT + LEAVES_RESULT)


def test_run_id_moves_with_what_affects_the_result_and_with_nothing_else(tiny_run) -> None:
    base = tiny_run()
    assert tiny_run(training={"recipe": "renamed"}).run_id == base.run_id
    for other in (tiny_run(seed=1), tiny_run(depth=14), tiny_run(training={"lr": 0.05})):
        assert other.run_id != base.run_id
    assert tiny_run(seed=1).settings_id == base.settings_id
    assert tiny_run(training={"lr": 0.05}).settings_id != base.settings_id


def test_run_ids_are_pinned() -> None:
    """A changed id would orphan published runs."""
    config = resolve(None, {}, [], {"depths": "20", "seeds": "0"})
    assert [run.run_id for run in config.runs()] == ["plain-d20-s0-191cf7bd", "residual-d20-s0-fad7b739"]


def test_a_setting_that_came_later_is_no_part_of_an_identity_until_it_is_used() -> None:
    base = resolve(None, {}, [], {"depths": "20", "seeds": "0"})
    others: dict[str, object] = {
        "model.layout": "isotropic", "model.shortcut_scale": 0.5, "model.activation": "gelu",
        "model.inner_activation": "none", "training.fused": False, "training.fast_math": True,
    }  # fmt: skip
    elsewhere = {"model.dirac", "model.last_scale", "constructed", "adopted"}
    assert set(others) | elsewhere == set(NEUTRAL)
    for name, value in others.items():
        assert name not in base.runs()[0].identity()
        room, setting = name.split(".")
        changed = resolve(None, {}, [], {"depths": "20", "seeds": "0", room: {setting: value}})
        assert changed.runs()[0].identity()[name] == value
        assert changed.settings_id != base.settings_id


@given(st.integers(0, 800))
def test_every_6n_plus_2_is_a_depth(n: int) -> None:
    assert check_depth(6 * n + 2) == 6 * n + 2


@pytest.mark.parametrize(
    ("depth", "told"),
    [(7, "2 and 8"), (21, "20 and 26"), (0, "is 2"), (6002, "limit")],
)
def test_a_wrong_depth_names_the_nearest(depth: int, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_depth(depth)


@pytest.mark.parametrize("text", ["abc", "8,,20", "", "8;20", "8,", "8.0", "-8", "+8", " 8", "1_0", "٨"])
def test_depths_are_ascii_numbers_and_commas(text: str) -> None:
    with pytest.raises(UsageError, match="not a whole number"):
        parse_depths(text)


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_depths_round_trip(depths: list[int]) -> None:
    assert parse_depths(",".join(map(str, depths))) == tuple(depths)


def test_seeds_read_ranges_and_refuse_bad_ones() -> None:
    assert parse_seeds("0-2,7") == (0, 1, 2, 7)
    for text, told in (("4-0", "write 0-4"), ("0-999999999", "more than"), ("0-", "whole"), ("-1", "whole")):
        with pytest.raises(UsageError) as error:
            parse_seeds(text)
        assert told in str(error.value)


def test_plain_2_and_residual_2_are_one_run() -> None:
    config = resolve(None, {}, [], {"depths": "2,8", "seeds": "0"})
    assert [(run.family, run.depth) for run in config.runs()] == [("plain", 2), ("plain", 8), ("residual", 8)]


def test_auto_precision_is_resolved_before_the_id() -> None:
    auto = resolve(None, {}, [], {"training": {"precision": "auto"}})
    named = resolve(None, {}, [], {"training": {"precision": "fp32"}})
    assert auto == named


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("seeds = [5]\n[training]\nepochs = 7\nlr = 0.2\n[execution]\njobs = 3\n")
    config = resolve(
        file, {"RESDEG_JOBS": "4"}, ["training.lr=0.3", "training.momentum=0.5"], {"training": {"lr": 0.4}}
    )
    assert (config.training.epochs, config.training.lr, config.training.momentum) == (7, 0.4, 0.5)
    assert (config.execution.jobs, config.seeds, config.training.schedule) == (4, (5,), "triangle")


def test_snapshots_are_asked_for_in_a_file_or_by_set_and_move_no_id(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[execution]\nsnapshots = 2\n")
    plain = resolve(None, {}, [], {})
    assert plain.execution.snapshots == 0
    for asked in (resolve(file, {}, [], {}), resolve(None, {}, ["execution.snapshots=2"], {})):
        assert asked.execution.snapshots == 2
        assert asked.runs() == plain.runs()
    for wrong in ("-1", "21", "true"):
        with pytest.raises(UsageError, match="snapshots"):
            resolve(None, {}, [f"execution.snapshots={wrong}"], {})


def test_a_length_replaces_the_other_kind() -> None:
    assert merge({"epochs": 3}, {"steps": 9}) == {"steps": 9}
    he = resolve(None, {}, [], {"training": {"recipe": "he2015", "epochs": 2}})
    assert (he.training.epochs, he.training.steps) == (2, None)


def test_sweep_toml_round_trips_and_names_no_place() -> None:
    config = resolve(None, {"RESDEG_DATA_DIR": "/somewhere"}, [], {"depths": "8"})
    text = config.to_toml()
    assert "somewhere" not in text
    again = validate(SweepConfig, {"x": tomllib.loads(text)})
    assert again.runs() == config.runs()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"training": {"epochz": 1}}, "unknown key 'training.epochz'\ndid you mean 'epochs'"),
        ({"families": "plane"}, "did you mean 'plain'"),
        ({"training": {"epochs": 0}}, "training.epochs = 0"),
        ({"training": {"epochs": 1.0}}, "valid integer"),
        ({"training": {"lr": float("nan")}}, "finite"),
        ({"training": {"lr": "0.1"}}, "valid number"),
        (
            {"execution": {"jobs": "two"}},
            "command line: execution.jobs = two: input should be a valid integer, or",
        ),
        ({"training": {"momentum": 1.0}}, "less than 1"),
        ({"data": {"hierarchy": {}}}, "--data hierarchy"),
        ({"execution": {"jobs": 0}}, "not between"),
        ({"seeds": "0-4000", "depths": "2,8,14"}, "limit is 10,000"),
    ],
)
def test_a_mistake_is_named_with_its_source_and_the_way_out(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(None, {}, [], settings)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = \n", r"x\.toml:1:5: "),
        (b"a = 1\na = 2\n", r"x\.toml:2:6"),
        (b"\xff\xfe", "UTF-8"),
        (None, "exist"),
    ],
)
def test_broken_toml_names_line_and_column(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=told):
        read_toml(path)


def test_a_folder_a_deep_and_a_huge_file_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file"):
        read_toml(tmp_path)
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(UsageError, match="deep"):
        read_toml(path)
    path.write_text("#" * 1_000_001)
    with pytest.raises(UsageError, match="1 MB"):
        read_toml(path)


def test_assignments() -> None:
    assert parse_assignment("data.name=cifar10") == {"data": {"name": "cifar10"}}
    assert parse_assignment("seeds=[1, 2]") == {"seeds": [1, 2]}
    for text in ("lr", "=3", "a..b=1"):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            parse_assignment(text)


def test_hierarchy_settings_are_part_of_that_data_set_alone() -> None:
    assert DataConfig(name="cifar10").hierarchy is None
    assert DataConfig(name="hierarchy").hierarchy is not None


def test_the_runs_of_a_process_share_its_threads_and_fast_math() -> None:
    arms = {"arms": {"other": {"training": {"fast_math": True}}}}
    assert resolve(None, {}, [], arms).runs()
    with pytest.raises(UsageError, match="are those of a process, and differ between arms"):
        resolve(None, {}, ["execution.group=2"], arms)


def test_what_is_captured_and_grouped_where_nobody_says() -> None:
    default = resolve(None, {}, [], {}).execution
    assert [default.captures(device) for device in ("cpu", "mps", "cuda")] == [False, False, True]
    assert default.runs_per_process == 1
    asked = resolve(None, {}, ["execution.graph=false", "execution.group=3"], {}).execution
    assert (asked.captures("cuda"), asked.runs_per_process) == (False, 3)
    with pytest.raises(UsageError, match="execution.group"):
        resolve(None, {}, ["execution.group=0"], {})
