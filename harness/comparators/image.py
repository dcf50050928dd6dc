"""Raster images by their pixels; texts, dates and compression set aside.

Pillow decodes hostile bytes in this process: only four formats, only after the size that the
header claims was checked here, with its own bomb warning as an error. What remains is a hole in
one of those four decoders, which only a sandbox around this process takes away.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.tensor import Tensor

STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8")
FORMATS = ["PNG", "JPEG", "BMP", "GIF"]
PIXELS = 64 << 20
TEXTS = "texts that a writer adds (software, dates, resolution); pixels are compared"


class ImageComparator(DocumentComparator):
    """PNG, JPEG, BMP and still GIF images."""

    id = "image"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file begins as an image does."""
        return sniff.head.startswith(STARTS) and (
            sniff.head[:2] != b"BM" or sniff.path.suffix.lower() == ".bmp"
        )

    def parse(self, path: Path, context: Context) -> Document:
        """Decode one image within the bound on pixels. Raises: CannotCompare without pillow."""
        try:
            from PIL import Image
        except ImportError as error:
            raise CannotCompare(
                "images need pillow", "pip install 'repro-harness[images]'"
            ) from error
        import numpy as np

        view = mapped(path, context.bounds.header)
        if bytes(view[:8]) == STARTS[0] and b"IEND" not in bytes(view[-4096:]):
            raise CannotCompare(f"{path.name}: cut off before its end")
        width, height = claimed(view)
        if width * height > PIXELS:
            raise CannotCompare(f"{path.name}: an image that claims {width} x {height} pixels")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with Image.open(path, formats=FORMATS) as image:
                    # `n_frames` would walk through every frame of a long animation.
                    animated = getattr(image, "is_animated", False)
                    if image.width * image.height > PIXELS or animated:
                        raise CannotCompare(f"{path.name}: an image too large, or with frames")
                    texts = repr(sorted((k, str(v)[:500]) for k, v in image.info.items()))
                    plain = image.convert("RGBA") if image.mode in {"P", "1"} else image
                    pixels = np.asarray(plain)
                    content = {"mode": image.mode, "pixels": Tensor.of(pixels)}
        except CannotCompare:
            raise
        except Exception as error:  # a decoder may raise anything on hostile bytes
            raise CannotCompare(f"{path.name}: cannot be decoded: {error}") from error
        return Document(content, {"texts": (texts, TEXTS)})


def claimed(view: memoryview) -> tuple[int, int]:
    """Return the width and height that a header claims; 0 where it is none that is known."""
    head = bytes(view[:32])
    if head.startswith(STARTS[0]):
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head.startswith(b"GIF8"):
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head.startswith(b"BM"):
        sizes = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22))
        width, height = sizes
        return abs(width), abs(height)
    return _jpeg(view)


def _jpeg(view: memoryview) -> tuple[int, int]:
    """Return the largest size that a frame of a JPEG claims."""
    at, found = 2, (0, 0)
    while at + 9 < len(view) and view[at] == 0xFF:
        marker, size = view[at + 1], int.from_bytes(view[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = (int.from_bytes(view[at + n : at + n + 2], "big") for n in (5, 7))
            found = max(found, (width, height), key=lambda s: s[0] * s[1])
        at += 2 + size
    return found
