"""Augmentation of whole batches on whatever device holds them; images are channels last, `[batch, h, w, 3]`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

AREA = (0.08, 1.0)  # of `resized_crop`, as torchvision's RandomResizedCrop has it
RATIO = (3 / 4, 4 / 3)
PAD_SHARE = 8  # `crop` pads by an eighth: 4 pixels at 32


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Return a CPU generator that depends on these three alone, so that every device draws the same."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def padding(size: int) -> int:
    """Return how many pixels `crop` adds on every side of an image of this size."""
    return size // PAD_SHARE


def draw_flips(count: int, random: torch.Generator) -> Bool[Tensor, " count"]:
    """Decide for each image whether it is mirrored: every second one on average."""
    return torch.rand(count, generator=random) < 0.5


def draw_offsets(count: int, size: int, random: torch.Generator) -> Int64[Tensor, "count 2"]:
    """Draw where `crop` cuts: row and column in the padded image, 0 to twice the padding."""
    return torch.randint(0, 2 * padding(size) + 1, (count, 2), generator=random)


def draw_boxes(count: int, random: torch.Generator) -> Float[Tensor, "count 4"]:
    """Draw boxes as torchvision's RandomResizedCrop does: area and log ratio uniform, then a place for it.

    A box that is larger than the image is drawn again, up to ten times, as torchvision does; then it is the whole
    image. Unlike torchvision's, boxes are not rounded to whole pixels, so that one draw serves every size.

    Returns:
        Top, left, height and width as shares of a square image.
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    area = torch.empty(count, 10).uniform_(*AREA, generator=random)
    ratio = torch.empty(count, 10).uniform_(low, high, generator=random).exp_()
    place = torch.rand(count, 2, generator=random)
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1, keepdim=True)
    size = torch.cat([height.gather(1, first), width.gather(1, first)], dim=1)
    size = torch.where(found, size, torch.ones_like(size))
    return torch.cat([place * (1 - size), size], dim=1)


@dataclass(frozen=True)
class Normaliser:
    """Turns uint8 images into normalised channels-last floats: (x / 255 - mean) / std.

    Args:
        scale: 1 / (255 std) for a row of pixels, `[width * 3]`: a row vectorises where three channels would not.
        shift: -mean / std, likewise.
    """

    scale: Float[Tensor, " row"]
    shift: Float[Tensor, " row"]

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device) -> Normaliser:
        """Build it for images of a width from the moments of values in 0 to 1."""
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float64)
        scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float64)
        return cls(scale.float().repeat(width).to(device), shift.float().repeat(width).to(device))

    def __call__(
        self, images: UInt8[Tensor, "batch h w 3"] | Float[Tensor, "batch h w 3"]
    ) -> Float[Tensor, "batch 3 h w"]:
        """Return the images in channels-last memory; floats are overwritten."""
        rows = images.float().view(*images.shape[:2], -1)
        torch.addcmul(self.shift, rows, self.scale, out=rows)
        return rows.view(images.shape).permute(0, 3, 1, 2)


def pad(images: UInt8[Tensor, "n h w 3"]) -> UInt8[Tensor, "n padded padded 3"]:
    """Put a black margin around square images, once for all epochs."""
    margin = padding(images.shape[1])
    return F.pad(images, (0, 0, margin, margin, margin, margin))


def crop(
    padded: UInt8[Tensor, "n padded padded 3"],
    which: Int64[Tensor, " batch"],
    offsets: Int64[Tensor, "batch 2"],
    flips: Bool[Tensor, " batch"] | None,
    size: int,
) -> UInt8[Tensor, "batch size size 3"]:
    """Cut a square out of each chosen image and mirror some of them: one gather of pixels.

    Args:
        padded: all images with their margin.
        which: the images of the batch.
        offsets: row and column of each square's corner.
        flips: which squares to mirror; none of them if `None`.
        size: side of the squares.
    """
    side = padded.shape[1]
    along = torch.arange(size, device=padded.device)
    rows = (which[:, None] * side + offsets[:, :1] + along) * side
    columns = offsets[:, 1:] + (along if flips is None else torch.where(flips[:, None], size - 1 - along, along))
    pixels = rows[:, :, None] + columns[:, None, :]
    return padded.view(-1, 3).index_select(0, pixels.view(-1)).view(len(which), size, size, 3)


def resized_crop(
    images: UInt8[Tensor, "batch size size 3"],
    boxes: Float[Tensor, "batch 4"],
    flips: Bool[Tensor, " batch"] | None,
) -> Float[Tensor, "batch size size 3"]:
    """Enlarge a box of each image to the whole, bilinearly, and mirror some of them; values stay in 0 to 255.

    A box is never larger than the image, so nothing is reduced and nothing needs smoothing first.
    """
    size = images.shape[1]
    centres = (torch.arange(size, device=images.device) + 0.5) / size
    x = boxes[:, 1:2] + centres * boxes[:, 3:4]
    if flips is not None:
        x = torch.where(flips[:, None], x.flip(1), x)
    y = boxes[:, 0:1] + centres * boxes[:, 2:3]
    shape = (len(images), size, size)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3).mul_(2).sub_(1)
    planes = images.permute(0, 3, 1, 2).float()
    # Both kernels of `grid_sample` read any strides, but write planes: one after the other in memory.
    sampled = F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.permute(0, 2, 3, 1).contiguous()
