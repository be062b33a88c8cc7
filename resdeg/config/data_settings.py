"""The table of settings data: which images, and what is known of them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from resdeg.config.settings import Frozen
from resdeg.errors import UsageError

# Networks halve their maps twice, so 4 pixels leave one; all images of a set are in memory at once.
SMALLEST_SIDE, LARGEST_SIDE = 4, 512


class HierarchyConfig(Frozen):
    """The built-in generated data set: a random hierarchy of production rules.

    Each of `classes` is a symbol that expands `levels` times; each symbol has `synonyms`
    productions into 2x2 tuples of `symbols` lower symbols; the last level's are coloured cells of
    `cell` x `cell` pixels (side = cell * 2**levels), with noise of `noise` grey levels on top.
    """

    classes: int = Field(10, ge=2, le=256)
    levels: int = Field(3, ge=1, le=5)
    symbols: int = Field(8, ge=2, le=64)
    synonyms: int = Field(4, ge=1, le=64)
    cell: int = Field(2, ge=1, le=8)
    noise: int = Field(32, ge=0, le=255)
    train_images: int = Field(10_000, ge=1, le=1_000_000)
    test_images: int = Field(2_000, ge=1, le=1_000_000)
    seed: int = Field(0, ge=0)


class FolderConfig(Frozen):
    """What is known of a user's own images without a look at them; `resdeg.data.describe_folder` measures it.

    name: of their folder, for titles. side: of an image, in pixels. hash: over all images and labels.
    """

    name: str = Field(min_length=1, max_length=60)
    classes: int = Field(ge=2, le=256)
    side: int = Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)
    train: int = Field(ge=1)
    test: int = Field(ge=1)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class DataConfig(Frozen):
    """Which images; how many of them train, or are held out for choices; and how many labels are wrong."""

    name: str = "cifar10"
    validation: int = Field(0, ge=0, description="training images held out; 0 trains on all")
    subset: int | None = Field(
        None, ge=1, description="of the training images, by classes; none given: trains on all"
    )
    label_noise: float = Field(
        0.0, ge=0, le=1, description="share of the training labels that are changed to another class"
    )
    hierarchy: HierarchyConfig | None = None
    folder: FolderConfig | None = Field(None, description="written by --data folder:DIR, never by hand")

    @model_validator(mode="before")
    @classmethod
    def _one_data_set(cls, values: Any) -> Any:
        """Lets only the data set of that name have a table, so the table moves no other data set's ids."""
        if not isinstance(values, dict):
            return values
        name = values.get("name")
        if name == "hierarchy":
            values = {**values, "hierarchy": values.get("hierarchy") or {}}
        if name == "folder" and values.get("folder") is None:
            raise UsageError("data.name is 'folder', and no folder is named", "give --data folder:DIR")
        for table, option in (("hierarchy", "hierarchy"), ("folder", "folder:DIR")):
            if name != table and values.get(table) is not None:
                raise UsageError(
                    f"data.{table} is set, but data.name is not '{table}'", f"add --data {option}"
                )
        return values

    @property
    def label(self) -> str:
        """The name with what tells these images from the whole of the data set, for a line of a list."""
        return self.name + "".join(
            (
                f" {self.folder.name}" if self.folder is not None else "",
                f", subset {self.subset:,}" if self.subset is not None else "",
                f", label noise {self.label_noise:g}" if self.label_noise else "",
            )
        )
