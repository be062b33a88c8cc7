"""Networks that others trained and gave away: which files, under what terms, and on which paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resdeg.config import Family, Settings
from resdeg.data.cache import cache_folder
from resdeg.data.download import RemoteFile, download, is_there
from resdeg.errors import DataError

_ADDRESS = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class PublishedFile:
    """One network's file, with its size in bytes and its SHA-256."""

    family: Family
    depth: int
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Published:
    """What one source gave away.

    repository, commit, folder: where the files are on GitHub.
    training: the settings that differ from the recipe he2015; trained says in words how it trained.
    mean, deviation: the channels of the input (red, green, blue), for pixels in [0, 1].
    """

    name: str
    repository: str
    commit: str
    folder: str
    licence: str
    training: Settings
    trained: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    files: tuple[PublishedFile, ...]

    def address(self, file: PublishedFile) -> str:
        """Returns the address that `file` is downloaded from."""
        return f"{_ADDRESS}/{self.repository}/{self.commit}/{self.folder}/{file.name}"

    def to_download(self, file: PublishedFile) -> RemoteFile:
        """Describes the file to `download`; all of these are in torch's first format, a pickle."""
        return RemoteFile(
            file.name,
            file.bytes,
            file.sha256,
            (self.address(file),),
            kind="file of weights",
            magic=b"\x80\x02",
            by_hand=f"resdeg adopt {self.name} --from DIR",
        )


A_MARTYN = Published(
    name="a-martyn",
    repository="a-martyn/resnet",
    commit="a9779154427bc5d28d89c213e1ae73613c353f74",
    folder="pretrained",
    licence="BSD-3-Clause",
    training={"epochs": 164},
    trained="164 epochs of 50,000 images, rate drops after 82 and 123, last epoch, one seed",
    mean=(0.4919, 0.4919, 0.4919),
    deviation=(0.2470, 0.2470, 0.2470),
    files=(
        PublishedFile("plain", 20, "plainnet20.pt", 1_105_656,
                      "0f77669a030c3ed83c4cb51a14657ff5b9382a0204a1f2e74f817489b55322a2"),
        PublishedFile("plain", 32, "plainnet32.pt", 1_900_478,
                      "66116e99103f8f23cb5a2abbe8ede59aadc8ee1035f92dc4bdb950bd8f129d4b"),
        PublishedFile("plain", 44, "plainnet44.pt", 2_695_315,
                      "daa3c99abdf9db6863d49b4720cf913454d42600370b192a0ed983362e80945d"),
        PublishedFile("plain", 56, "plainnet56.pt", 3_490_353,
                      "1d7483c8dc8f800679882758eaf1fb2d929d847597b058a44ede98904775b221"),
        PublishedFile("residual", 20, "resnet20.pt", 1_105_656,
                      "690e7b7665ec4848aa69e8950a496ae5890a737fc42693fe17edfab97e9e488f"),
        PublishedFile("residual", 32, "resnet32.pt", 1_900_478,
                      "504f145a83d5cfa886d76504f3c64c9dfc8e1ec4450cc3aba2387280a1b59576"),
        PublishedFile("residual", 44, "resnet44.pt", 2_695_315,
                      "d76072bac4bd33978f9f521550827d816daa4832718c3444781aa01947652324"),
        PublishedFile("residual", 56, "resnet56.pt", 3_490_353,
                      "2d3b6e685714119c5fb0d45c369f353a26f8afd30ae7196760c98d300dc119de"),
    ),
)  # fmt: skip
AKAMASTER = Published(
    name="akamaster",
    repository="akamaster/pytorch_resnet_cifar10",
    commit="d5489e8995e81e91ce6b1d69dcc98ad579b0b153",
    folder="pretrained_models",
    licence="BSD-2-Clause",
    training={"epochs": 200},
    trained="200 epochs, rate drops after 100 and 150, best epoch on the test set",
    mean=(0.485, 0.456, 0.406),
    deviation=(0.229, 0.224, 0.225),
    files=(
        PublishedFile("residual", 20, "resnet20-12fca82f.th", 1_099_231,
                      "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"),
        PublishedFile("residual", 32, "resnet32-d509ac18.th", 1_890_043,
                      "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850"),
        PublishedFile("residual", 44, "resnet44-014dd654.th", 2_680_855,
                      "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4"),
        PublishedFile("residual", 56, "resnet56-4bfd9763.th", 3_471_733,
                      "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367"),
    ),
)  # fmt: skip
PUBLISHED = {source.name: source for source in (A_MARTYN, AKAMASTER)}


def locate(
    source: Published,
    file: PublishedFile,
    *,
    folder: Path | None,
    offline: bool,
    say: Callable[[str], None],
) -> Path:
    """Returns the path of the verified file, in the cache after a download where no folder is given.

    Args:
        folder: holds the file, or a folder with the source's name that does.
        say: is called with a line for people when a download begins.

    Raises:
        DataError: the file is missing, or is not the published one, or could not be downloaded.
    """
    expected = source.to_download(file)
    if folder is not None:
        candidates = (folder / file.name, folder / source.name / file.name)
        path = next((each for each in candidates if each.is_file()), None)
        if path is None:
            raise DataError(f"{folder}: {file.name} is not there", "leave out --from to have it fetched")
        if not is_there(expected, path):
            raise DataError(f"{path}: not the published file, whose SHA-256 is {file.sha256[:12]}...")
        return path
    cached = cache_folder() / "nets" / source.name
    if offline and not is_there(expected, cached / file.name):
        raise DataError(
            f"{file.name} of {source.name} is not there, and downloads are off (--offline or RESDEG_OFFLINE)",
            f"get it from {source.address(file)} and give --from DIR",
        )
    return download(expected, cached, say=say, progress=lambda done, total: None)
