"""Raster images by their pixels; texts, dates and compression set aside."""

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
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with Image.open(path, formats=FORMATS) as image:
                    if image.width * image.height > PIXELS or getattr(image, "n_frames", 1) > 1:
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
