"""Image files: what is decoded exactly, what is refused in words, and how classes are listed."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resdeg.data.image_files import decode, list_classes
from resdeg.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_alpha(opacity: int) -> np.ndarray:
    alpha = np.full((8, 8, 1), 255, np.uint8)
    alpha[3, 3] = opacity
    return np.concatenate([PIXELS, alpha], axis=2)


def test_files_and_bytes_become_one_array(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(PIXELS))
    decoded = decode([tmp_path / "a.png", encode(PIXELS[::-1])], 8)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, [PIXELS, PIXELS[::-1]])
    assert decode([encode(PIXELS[:5])]).shape == (1, 5, 8, 3), "the first image gives the size"
    assert decode([], 8).shape == (0, 8, 8, 3)


def test_grey_palette_and_opaque_images_become_rgb() -> None:
    grey = PIXELS[..., 0]
    few = Image.fromarray(PIXELS // 64 * 64).quantize(64)
    for image, expected in [
        (Image.fromarray(grey), np.repeat(grey[..., None], 3, axis=2)),
        (Image.fromarray(grey > 127), np.repeat((grey > 127)[..., None] * np.uint8(255), 3, axis=2)),
        (few, np.asarray(few.convert("RGB"))),
        (Image.fromarray(with_alpha(255)), PIXELS),
    ]:
        assert np.array_equal(decode([encode(image)])[0], expected), image.mode


def sixteen_bits() -> bytes:
    """A PNG of 16 bits per RGB channel, which Pillow reads (it drops a byte) but does not write."""
    rows = np.concatenate([np.zeros((8, 1), np.uint8), PIXELS.reshape(8, -1).repeat(2, axis=1)], axis=1)
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encode(PIXELS[..., 0].astype(np.uint16)), "has 16 bits per channel"),
        (sixteen_bits(), "has 16 bits per channel"),
        (encode(with_alpha(254)), "is transparent in places"),
        (encode(PIXELS, transparency=tuple(PIXELS[0, 0].tolist())), "is transparent in places"),
        (encode(PIXELS)[:-40], "is broken"),
        (encode(PIXELS)[:20], "is broken|is not an image"),
        (b"", "is not an image"),
        (b"GIF89a" + bytes(100), "is not an image"),
        (encode(PIXELS, "GIF"), "is not an image"),
        (encode(PIXELS, "EPS"), "is not an image"),
        (encode(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"), "Pillow's mode CMYK"),
        (encode(PIXELS[:7]), "has 8 x 7 pixels, expected 8 x 8"),
        (
            encode(PIXELS, save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
            "has 2 frames",
        ),
    ],
)
def test_an_image_that_cannot_be_taken_as_it_is_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        decode([content], 8, where="train.parquet")
    assert error.value.what.startswith("train.parquet: image 0: ")
    assert error.value.remedy


def test_only_the_formats_that_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(PIXELS, "JPEG"))
    assert decode([tmp_path / "a.png"]).shape == (1, 8, 8, 3)
    with pytest.raises(DataError, match=r"a\.png: is not an image of the format PNG"):
        decode([tmp_path / "a.png"], formats=("PNG",))
    with pytest.raises(DataError, match=r"b\.png: is not there"):
        decode([tmp_path / "b.png"])


def test_no_file_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(PIXELS))
    before = len(os.listdir("/dev/fd"))
    decode([tmp_path / "a.png"] * 20)
    assert len(os.listdir("/dev/fd")) == before


def plant(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_classes_and_files_are_in_natural_order(tmp_path: Path) -> None:
    names = ["10/a.png", "2/10.png", "2/9.JPG", "2/deeper/1.webp", "Cat/1.png", "ant/1.bmp"]
    litter = [".hidden/1.png", "2/.DS_Store", "2/Thumbs.db", "2/._9.png", "__MACOSX/1.png", "README.md"]
    listed = list_classes(plant(tmp_path, *names, *litter))
    assert list(listed) == ["2", "10", "ant", "Cat"]
    assert [str(path.relative_to(tmp_path)) for path in listed["2"]] == names[2:0:-1] + names[3:4]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.png", "b/.keep"], "b: the class has no image"),
        (["README.md"], "has no folder of images"),
        (["a/1.png", "2.png"], r"2\.png: the image is in no class"),
        (["a/1.png", "a/labels.txt"], r"labels\.txt: is no image file"),
    ],
)
def test_a_folder_without_clear_classes_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list_classes(plant(tmp_path, *names))


def test_links_are_followed_only_where_no_circle_can_be(tmp_path: Path) -> None:
    plant(tmp_path, "real/1.png", "classes/b/1.png")
    (tmp_path / "classes" / "a").symlink_to(tmp_path / "real")
    assert list(list_classes(tmp_path / "classes")) == ["a", "b"]
    (tmp_path / "real" / "again").symlink_to(tmp_path / "classes")
    with pytest.raises(DataError, match="again: is a link to a folder"):
        list_classes(tmp_path / "classes")
    with pytest.raises(DataError, match="nowhere: cannot be read"):
        list_classes(tmp_path / "nowhere")
