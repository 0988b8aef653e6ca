"""From image files to one uint8 array, on all cores."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from PIL import Image
from rich.progress import track

from eca_ablate.data.dataset import Images
from eca_ablate.errors import DataError


def decode_all(names: Sequence[str], read: Callable[[int], bytes], size: int, title: str) -> Images:
    """Decode images to a common size.

    Args:
        names: what to call each image in an error.
        read: gives the bytes of the image at a position; called from several threads.
        size: side in pixels; the shorter side is resized to it (bicubic, antialiased) and the centre kept.
        title: shown beside the progress bar, which appears on terminals alone.

    Returns:
        uint8 `[n, size, size, 3]`.

    Raises:
        DataError: naming the first image that cannot be read.
    """
    images = np.empty((len(names), size, size, 3), dtype=np.uint8)

    def one(position: int) -> None:
        images[position] = decode(read, position, names[position], size)

    pool = ThreadPoolExecutor(max_workers=os.cpu_count())
    try:
        done = pool.map(one, range(len(names)))  # Pillow decodes and resizes without holding the interpreter
        for _ in track(done, title, total=len(names), transient=True, disable=not sys.stderr.isatty()):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return images


def decode(read: Callable[[int], bytes], position: int, name: str, size: int) -> Images:
    """Decode one image to uint8 `[size, size, 3]`; see `decode_all`."""
    try:
        with Image.open(io.BytesIO(read(position))) as image:
            image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
            return np.asarray(_square(image.convert("RGB"), size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is no readable image: {error}; replace or remove it") from error


def resize_all(images: Images, size: int) -> Images:
    """Resize decoded images `[n, h, w, 3]` to `[n, size, size, 3]`; the same array if they have that size."""
    if images.shape[1:3] == (size, size):
        return images
    one = partial(_square, size=size)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return np.stack([np.asarray(image) for image in pool.map(one, map(Image.fromarray, images))])


def _square(image: Image.Image, size: int) -> Image.Image:
    """Resize the central square to `size`: the same as resizing the shorter side and cropping the centre."""
    width, height = image.size
    if (width, height) == (size, size):
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
