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
    ExecutionConfig,
    FolderConfig,
    RunConfig,
    SweepConfig,
    arrange_options,
    check_depth,
    list_layers,
    merge,
    name_origins,
    parse_assignment,
    parse_depths,
    parse_seeds,
    parse_time,
    read_toml,
    resolve,
    validate,
)
from resdeg.config.synonyms import FIXED, SETTINGS
from resdeg.errors import UsageError

TINY_CONFIG = "depths = [8, 20]\n[training]\nlr = 0.05\n"


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if kind == FolderConfig | None:  # not every setting of this table affects a result
            kind = FolderConfig
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
        "data.subset": 20_000, "data.label_noise": 0.2,
        "model.layout": "isotropic", "model.shortcut_scale": 0.5, "model.activation": "gelu",
        "model.inner_activation": "none", "training.fused": False, "training.fast_math": True,
    }  # fmt: skip
    elsewhere = {"data.folder.hash", "model.dirac", "model.last_scale", "constructed", "adopted"}
    assert set(others) | elsewhere == set(NEUTRAL)
    for name, value in others.items():
        assert name not in base.runs()[0].identity
        room, setting = name.split(".")
        changed = resolve(None, {}, [], {"depths": "20", "seeds": "0", room: {setting: value}})
        assert changed.runs()[0].identity[name] == value
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


@pytest.mark.parametrize(
    "text",
    ["abc", "8,,20", "", "8;20", "8,", "8.0", "-8", "+8", "1_0", "٨", "8..", "8:56:6:6", "[8", "8 - 20"],
)
def test_depths_are_ascii_numbers_and_commas(text: str) -> None:
    with pytest.raises(UsageError, match="not a whole number"):
        parse_depths(text)


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_depths_round_trip(depths: list[int]) -> None:
    assert parse_depths(",".join(map(str, depths))) == tuple(depths)


@pytest.mark.parametrize("text", ["8, 20", "8 20", " 8 ,20", "[8,20]", "(8, 20)", "{8 20}", "8,  20 "])
def test_a_list_may_have_spaces_and_brackets(text: str) -> None:
    assert parse_depths(text) == parse_seeds(text) == (8, 20)


@pytest.mark.parametrize(
    ("text", "depths"),
    [
        ("8..26", (8, 14, 20, 26)),
        ("8-26", (8, 14, 20, 26)),
        ("8:26", (8, 14, 20, 26)),
        ("8...26", (8, 14, 20, 26)),
        ("8\u201326", (8, 14, 20, 26)),
        ("8\u202626", (8, 14, 20, 26)),
        ("8:26:6", (8, 14, 20, 26)),
        ("2..26..12", (2, 14, 26)),
        ("2:25:12", (2, 14)),
        ("9-25", (14, 20)),
        ("0..8", (2, 8)),
        ("20-20", (20,)),
        ("2, 8..14, 56", (2, 8, 14, 56)),
    ],
)
def test_a_range_of_depths_means_every_depth_in_it(text: str, depths: tuple[int, ...]) -> None:
    assert parse_depths(text) == depths


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(["-", "..", ":"]))
def test_a_range_has_each_depth_between_its_ends(low: int, more: int, sign: str) -> None:
    expected = tuple(depth for depth in range(low, low + more + 1) if depth % 6 == 2)
    if expected:
        assert parse_depths(f"{low}{sign}{low + more}") == expected
    else:
        with pytest.raises(UsageError, match="nearest"):
            parse_depths(f"{low}{sign}{low + more}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("8:56:4", "the nearest are 8,14,20,26,32,38,44,50,56"),
        ("8:56:10", "the nearest are 8,20,26,38,50"),
        ("10:50:12", "the nearest are 8,20,32,44"),
        ("2:5000:7", "the nearest are 2,8,14,26,32,38,44,50,56,68, ..."),
        ("8:56:0", "write 8:56"),
        ("56..8", "write 8..56"),
        ("9..13", "the nearest are 8 and 14"),
        ("0-1", "the nearest is 2"),
        ("8-999999999", "limit of 5000"),
    ],
)
def test_a_range_that_is_none_of_depths_names_the_nearest(text: str, answer: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_depths(text)
    assert answer in str(error.value)


def test_seeds_read_ranges_and_refuse_bad_ones() -> None:
    assert parse_seeds("0-2,7") == parse_seeds("0..2 7") == (0, 1, 2, 7)
    assert parse_seeds("3:3") == (3,)
    for text, answer in (
        ("4-0", "write 0-4"), ("0-999999999", "more than"), ("0:999999999", "more than"), ("0-", "whole"),
        ("-1", "whole"), ("0:3", "write 0-3 with it, or 0-2 without it"), ("0:1", "or 0 without it"),
        ("0..8..2", "write e.g. 0,2,4"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as error:
            parse_seeds(text)
        assert answer in str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("170m", 10_200), ("2h", 7_200), ("1.5h", 5_400), ("2d", 172_800), ("1h30m", 5_400),
        ("1d12h", 129_600), ("1h30m15s", 5_415), ("02:00:00", 7_200), ("2:00:30", 7_230),
        ("1-12:00:00", 129_600), ("90 min", 5_400), ("2 hours", 7_200), ("1 hour 30 minutes", 5_400),
        ("2H", 7_200), ("30sec", 30), ("1 day", 86_400), (" 2h ", 7_200),
    ],
)  # fmt: skip
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("90", "write 90s, 90m or 90h"), ("1.5", "1.5m or 1.5h"), ("1:30", "write 1h30m or 1m30s"),
        ("soon", "write e.g. 90s"), ("", "not a time"), ("0s", "not a time"), ("0", "not a time"),
        ("00:00:00", "not a time"), ("02:90:00", "not a time"), ("30m1h", "not a time"),
        ("-2h", "not a time"), ("1 30m", "not a time"), ("1e3s", "not a time"),
        ("\u0668s", "not a time"), ("inf", "not a time"),
    ],
)  # fmt: skip
def test_a_time_that_may_mean_several_is_asked_for(text: str, answer: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_time(text)
    assert answer in str(error.value)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gpu", "write cuda"), ("GPU", "write cuda"), ("rocm", "write cuda"), ("metal", "mps"),
        ("cuda:1", "CUDA_VISIBLE_DEVICES=1"), ("cuda:0", "CUDA_VISIBLE_DEVICES=0"),
        ("gpu:2", "CUDA_VISIBLE_DEVICES=2"), ("3", "CUDA_VISIBLE_DEVICES=3"),
        ("cuda:0,1", "CUDA_VISIBLE_DEVICES=0"), ("cudda", "did you mean 'cuda'?"), ("tpu", "did you mean"),
    ],
)  # fmt: skip
def test_a_device_of_another_program_is_answered_wherever_it_stands(
    name: str, answer: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f"[execution]\ndevice = {name!r}\n")
    sources = {
        str(file): (file, {}, [], {}),
        "RESDEG_DEVICE": (None, {"RESDEG_DEVICE": name}, [], {}),
        "--set": (None, {}, [f"execution.device='{name}'"], {}),
        "command line": (None, {}, [], {"execution": {"device": name}}),
    }
    for source, arguments in sources.items():
        with pytest.raises(UsageError) as error:
            resolve(*arguments)
        assert answer in str(error.value)
        assert str(error.value).startswith(f"{source}: ")


@pytest.mark.parametrize("jobs", ["-1", "0", "1025"])
def test_a_number_of_jobs_that_is_none_is_answered(jobs: str) -> None:
    for given_jobs in (arrange_options(jobs=jobs), {"execution": {"jobs": int(jobs)}}):
        with pytest.raises(UsageError, match=f"{jobs} is not between 1 and 1024\nwrite auto"):
            resolve(None, {}, [], given_jobs)
    with pytest.raises(UsageError, match=f"RESDEG_JOBS: execution.jobs = {jobs}: "):
        resolve(None, {"RESDEG_JOBS": jobs}, [], {})


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("lr", "did you mean 'training.lr'?"),
        ("learning_rate", "did you mean 'training.lr'?"),
        ("training.learning_rate", "did you mean 'training.lr'?"),
        ("training.weight-decay", "did you mean 'training.weight_decay'?"),
        ("training.width", "did you mean 'model.width'?"),
        ("model.epochs", "did you mean 'training.epochs'?"),
        ("optimizer", "it does not vary: every network trains by SGD"),
        ("training.nesterov", "it does not vary: every network trains by SGD"),
        ("model.dropout", "no network here has dropout"),
        ("training.epochz", "did you mean 'training.epochs'?"),
        ("training.frobnicate", "known: batch_size"),
        ("epochs", "did you mean 'training.epochs'?"),
        ("data_dir", "did you mean 'execution.data_dir'?"),
        ("depth", "did you mean 'depths'?"),
        ("arms.wide.lr", "did you mean 'arms.wide.training.lr'?"),
        ("arms.wide.modle", "did you mean 'arms.wide.model'?"),
        ("arms.wide.snapshots", "known: constructed"),
    ],
)
def test_a_key_of_another_program_or_table_is_answered(key: str, answer: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(None, {}, [f"{key}=1"], {})
    assert answer in str(error.value)


def test_every_synonym_is_one_of_a_setting_and_of_no_other() -> None:
    known = {*leaves(RunConfig), *(f"execution.{name}" for name in ExecutionConfig.model_fields)}
    assert {*SETTINGS.values()} <= known
    assert not {*SETTINGS} & {*FIXED}
    assert {name.rpartition(".")[2].replace("_", "-") for name in known} & {*FIXED} == set()


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
        ({"training": {"epochz": 1}}, "unknown key 'training.epochz'\ndid you mean 'training.epochs'"),
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


@pytest.mark.parametrize(
    "content",
    [
        TINY_CONFIG.encode("utf-8-sig"),
        TINY_CONFIG.replace("\n", "\r\n").encode(),
        TINY_CONFIG.replace("\n", "\r\n").encode("utf-8-sig"),
    ],
    ids=["mark", "crlf", "both"],
)
def test_a_configuration_saved_by_a_windows_editor_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    assert read_toml(path) == {"depths": [8, 20], "training": {"lr": 0.05}}
    path.write_bytes(content + b"[training")
    with pytest.raises(UsageError, match=r"x\.toml:4:10: "):
        read_toml(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_configuration_in_utf_16_is_refused_in_words(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(TINY_CONFIG.encode(encoding))
    with pytest.raises(UsageError, match=r"x\.toml: UTF-16 text, .*\nsave it as UTF-8"):
        read_toml(path)


def test_a_configuration_in_another_encoding_or_language_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(TINY_CONFIG.encode() + "# für".encode("cp1252"))
    with pytest.raises(UsageError, match=r"x\.toml:4: not UTF-8 text .*\nsave it as UTF-8"):
        read_toml(path)
    path = tmp_path / "x.yaml"
    path.write_text("depths: [8, 20]\n")
    with pytest.raises(UsageError, match="write it as TOML"):
        read_toml(path)


def test_origins_name_the_layer_that_set_each_value(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("seeds = [5]\n[training]\nsteps = 7\nlr = 0.2\n[execution]\njobs = 3\ndevice = 'cpu'\n")
    environment = {"RESDEG_JOBS": "4"}
    assignments = ["training.lr=0.3", "arms.wide.model.width=2.0"]
    flags = arrange_options(depths="8,20", epochs=3)
    layers = list_layers(file, environment, assignments, flags)
    config = resolve(file, environment, assignments, flags)
    settings = config.list_settings()
    origins = name_origins(settings, layers)
    assert origins["seeds"] == origins["execution.device"] == str(file)
    assert origins["execution.jobs"] == "RESDEG_JOBS"
    assert origins["training.lr"] == origins["arms.wide.model.width"] == "--set"
    assert origins["depths"] == origins["training.epochs"] == "command line"
    assert origins["training.schedule"] == "recipe short"
    assert origins["training.momentum"] == origins["training.recipe"] == "default"
    assert "training.steps" not in origins
    assert validate(SweepConfig, {"again": settings}) == config
    named = list_layers(None, {}, [], arrange_options(recipe="demo"))
    assert name_origins(resolve(None, {}, [], arrange_options(recipe="demo")).list_settings(), named)[
        "training.recipe"
    ] == ("command line")


def test_hierarchy_settings_are_part_of_that_data_set_alone() -> None:
    assert DataConfig(name="cifar10").hierarchy is None
    assert DataConfig(name="hierarchy").hierarchy is not None


@pytest.mark.parametrize(
    ("data_dir", "absolute"),
    [(None, None), ("", ""), ("~/cifar", "~/cifar"), ("/data", "/data"), ("cifar", "{here}/cifar")],
)
def test_the_data_are_in_the_same_folder_for_a_process_that_works_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: str | None, absolute: str | None
) -> None:
    """A leading ~ is left to that process, whose home may be another."""
    monkeypatch.chdir(tmp_path)
    expected = None if absolute is None else absolute.format(here=tmp_path)
    assert ExecutionConfig(data_dir=data_dir).absolute_data_dir == expected


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


def test_an_arm_that_leaves_dirac_mixed_takes_no_dirac_of_the_grid_along() -> None:
    arms = [f"arms.{init}.model.init={init}" for init in ("he", "orthogonal", "dirac-mixed")]
    config = resolve(None, {}, ["model.init=dirac-mixed", "model.dirac=0.3", *arms], {})
    inits = {name: (arm.model.init, arm.model.dirac) for name, arm in config.arm_sweeps.items()}
    assert inits == {
        "he": ("he", None), "orthogonal": ("orthogonal", None), "dirac-mixed": ("dirac-mixed", 0.3),
    }  # fmt: skip
    plain = resolve(None, {}, [], {})
    assert config.arm_sweeps["he"].settings_id == plain.settings_id
    with pytest.raises(UsageError, match=r"arms\.he: model\.dirac is set"):
        resolve(None, {}, ["model.init=dirac-mixed", *arms, "arms.he.model.dirac=0.3"], {})
