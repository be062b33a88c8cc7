"""Bad input: one or two lines that say what, where and what to do, the documented code, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.cli import app

CASES = [
    (["sweep", "--depths", "7"], 2, "the nearest are 2 and 8"),
    (["sweep", "--depths", "abc"], 2, "'abc' is not a whole number"),
    (["sweep", "--depths", "8,,20"], 2, "an empty item"),
    (["sweep", "--seeds", "4-0"], 2, "write 0-4"),
    (["sweep", "--epochs", "0"], 2, "training.epochs = 0"),
    (["sweep", "--families", "plane"], 2, "did you mean 'plain'?"),
    (["sweep", "--recipe", "he2016"], 2, "did you mean 'he2015'?"),
    (["sweep", "--data", "cifar"], 2, "did you mean 'cifar10'?"),
    (["sweep", "--epochs", "1", "--steps", "1"], 2, "give only one of them"),
    (["sweep", "--jobs", "many"], 2, "execution.jobs"),
    (["sweep", "--time-limit", "soon"], 2, "write e.g. 90s"),
    (["sweep", "--set", "lr"], 2, "KEY=VALUE"),
    (["sweep", "--set", "training.lrr=1"], 2, "did you mean 'training.lr'?"),
    (["sweep", "nowhere.toml"], 2, "nowhere.toml: does not exist"),
    (["sweep", "unknown.toml"], 2, "unknown.toml: unknown key 'dephts'"),
    (["sweep", "broken.toml"], 2, "broken.toml:2:8: "),
    (["sweep"], 4, "CIFAR-10 not found"),
    (["sweep", "--data-dir", "nowhere"], 4, "nowhere is not there"),
    (["train", "--seed", "0-1"], 2, "resdeg train makes one run"),
    (["bench", "--depths", "21"], 2, "the nearest are 20 and 26"),
    (["sweep", "--lr", "0.05"], 2, "resdeg sweep has no option --lr\n       write --set training.lr=0.05"),
    (["sweep", "--lr=0.05"], 2, "write --set training.lr=0.05"),
    (["sweep", "-lr", "0.05"], 2, "write --set training.lr=0.05"),
    (["sweep", "--learning_rate"], 2, "write --set training.lr=VALUE"),
    (["sweep", "--batch-size", "64"], 2, "write --set training.batch_size=64"),
    (["train", "-b", "64"], 2, "write --set training.batch_size=64"),
    (["sweep", "--weight-decay", "5e-4"], 2, "write --set training.weight_decay=5e-4"),
    (["sweep", "--dataset", "cifar100"], 2, "write --data cifar100"),
    (
        ["sweep", "--optimizer", "adam"],
        2,
        "it does not vary\n       leave it out: every network trains by SGD",
    ),
    (["sweep", "--dropout", "0.1"], 2, "leave it out: no network here has dropout"),
    (["sweep", "--epoch", "3"], 2, "write --epochs 3"),
    (["sweep", "--epocs", "3"], 2, "did you mean --epochs?"),
    (["sweep", "--seed", "3"], 2, "write --seeds 3"),
    (["train", "--seeds", "3"], 2, "write --seed 3"),
    (["sweep", "--model", "resnet56"], 2, "write --families residual --depths 56"),
    (["train", "--arch", "plain20"], 2, "write --family plain --depth 20"),
    (["sweep", "--model", "resnet18"], 2, "--depths N, where N is 6n+2: the nearest are 14 and 20"),
    (["sweep", "--model", "vit"], 2, "write --families plain or residual, and --depths 56"),
    (["sweep", "--gpu"], 2, "write --device cuda"),
    (["sweep", "--gpu-id", "1"], 2, "CUDA_VISIBLE_DEVICES=1 before the command"),
    (["sweep", "--num-workers", "4"], 2, "write --jobs N for N runs side by side"),
    (["sweep", "--resume"], 2, "it goes on where it stopped"),
    (["sweep", "--output", "my runs"], 2, "write --out 'my runs'"),
    (["sweep", "--frobnicate"], 2, "resdeg sweep --help lists its options"),
    (["sweep", "--version"], 2, "give it before the command: resdeg --version"),
    (["sweep", "--kind", "arms"], 2, "--kind is an option of resdeg plot"),
    (["--depths", "8", "sweep"], 2, "--depths is an option of resdeg sweep"),
    (["--lr", "0.05", "sweep"], 2, "the options of a command stand behind it"),
    (["plot", "--format", "svg"], 2, "write --out FILE.svg"),
    (["plot", "--lr", "0.05"], 2, "resdeg plot --help lists its options"),
    (
        ["data", "fetch", "--dataset", "cifar100"],
        2,
        "resdeg data fetch has no option --dataset\n       write --data",
    ),
    (
        ["config", "show", "--lr", "0.05"],
        2,
        "resdeg config show has no option --lr\n       write --set training.lr",
    ),
    (["config", "show", "--fresh"], 2, "leave it out: it does not change what is trained"),
    (["config", "show", "--depths", "7"], 2, "the nearest are 2 and 8"),
    (["config", "show", "unknown.toml"], 2, "unknown.toml: unknown key 'dephts'"),
    (["sweep", "--set", "lr=0.05"], 2, "did you mean 'training.lr'?"),
    (["sweep", "--jobs", "-1"], 2, "write auto"),
    (["sweep", "--jobs", "0"], 2, "write auto"),
    (["sweep", "--device", "gpu"], 2, "write cuda for a GPU"),
    (["sweep", "--device", "cuda:1"], 2, "CUDA_VISIBLE_DEVICES=1 before the command"),
    (["bench", "--device", "cuda:1"], 2, "CUDA_VISIBLE_DEVICES=1 before the command"),
    (["sweep", "--depths", "8:56:4"], 2, "the nearest are 8,14,20"),
    (["sweep", "--depths", "8", "20", "57"], 2, "the nearest are 56 and 62"),
    (["sweep", "--depths=8,", "20,", "57"], 2, "the nearest are 56 and 62"),
    (["sweep", "--depths", "8", "20.toml"], 2, "20.toml: does not exist"),
    (["sweep", "--seeds", "0:3"], 2, "write 0-3 with it, or 0-2 without it"),
    (["sweep", "--time-limit", "90"], 2, "write 90s, 90m or 90h"),
    (["sweep", "utf16.toml"], 2, "utf16.toml: UTF-16 text"),
    (["plot"], 2, "no sweep has run here yet"),
    (["status"], 2, "no sweep has run here yet"),
    (["plot", "empty"], 2, "empty holds no sweep"),
    (["plot", "nowhere"], 2, "nowhere does not exist"),
    (["plot", "empty", "--kind", "curv"], 2, "did you mean 'curve'?"),
    (["plot", "empty", "--theme", "drak"], 2, "did you mean 'dark'?"),
    (["plot", "empty", "--out", "x.gif"], 2, "png, svg, pdf"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RESDEG_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "unknown.toml").write_text("dephts = [8]\n")
    (tmp_path / "broken.toml").write_text("a = 1\nb = [1, \n")
    (tmp_path / "utf16.toml").write_text("depths = [8]\n", encoding="utf-16")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    CASES,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input(
    folder: Path, arguments: list[str], code: int, told: str,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    app.screen.__dict__.pop("rich", None)  # it holds the stderr of an earlier test
    monkeypatch.setattr("sys.argv", ["resdeg", *arguments])
    with pytest.raises(SystemExit) as left:
        app.main()
    said = capfd.readouterr()
    assert left.value.code == code
    assert told in said.err
    assert "Traceback" not in said.err
    assert len(said.err.strip().splitlines()) <= 2
    assert said.out == ""
    assert not (folder / "results").exists()


@pytest.mark.slow
def test_bad_input_that_only_a_worker_sees(resdeg, tmp_path: Path) -> None:
    for arguments, code, told in (
        (["--data", "hierarchy", "--set", "model.norm=bacth"], 2, "did you mean 'batch'?"),
        (["--data", "hierarchy", "--set", "execution.graph=true"], 2, "execution.graph needs a CUDA device"),
        (["--data", "hierarchy", "--device", "cuda"], 2, "device cuda is not on this machine"),
    ):
        done = resdeg("sweep", "--depths", "8", *arguments)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (code, 2), done.stderr
        assert told in done.stderr
    batches = tmp_path / "cifar-10-batches-bin"
    batches.mkdir()
    for name in [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
        (batches / name).write_bytes(b"\0" * 100)
    done = resdeg("sweep", "--depths", "8", "--data-dir", tmp_path)
    assert done.returncode == 4
    assert "data_batch_1.bin has 100 bytes, expected 30,730,000" in done.stderr


def test_a_bug_is_one_line_and_debug_shows_it(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    app.screen.__dict__.pop("rich", None)
    monkeypatch.setattr("sys.argv", ["resdeg", "status", "x"])
    monkeypatch.setattr("resdeg.analysis.status.read_status", lambda folder: 1 / 0)
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 1
    assert "ZeroDivisionError" in capfd.readouterr().err
    monkeypatch.setattr("sys.argv", ["resdeg", "--debug", "status", "x"])
    with pytest.raises(ZeroDivisionError):
        app.main()
