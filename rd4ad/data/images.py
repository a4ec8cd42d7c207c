"""Pictures and masks of many kinds -> uint8 RGB and boolean arrays of one size."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.data.decoding import eight_bit, image_size, opened
from rd4ad.data.folders import DatasetError, Sample, listed

Picture = str | Path | Image.Image | NDArray[np.uint8]
Images = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Progress = Callable[[int, int], None]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By channel, of levels in [0, 1]: what torchvision's networks were trained on."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Images of one size, and what could not be read.

    Args:
        images: (N, S, S, 3) uint8 RGB, in the order of the sources.
        kept: for each image the index of its source, ascending.
        skipped: one message for each source left out; each names its file.
    """

    images: Images
    kept: tuple[int, ...]
    skipped: tuple[str, ...]


def read_image(source: Picture) -> Images:
    """Return the picture as (H, W, 3) uint8 RGB, a new array.

    >>> read_image(np.full((2, 5), 7, dtype=np.uint8)).shape
    (2, 5, 3)

    Args:
        source: a file, a PIL image, or an array (H, W, 3) uint8 RGB or (H, W) uint8 gray. Of a file
            with several frames the first is read. Alpha is dropped, not composited. 16-bit gray is
            scaled by its full range: 65535 becomes 255. CMYK is converted without its profile.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: a file or PIL image that is truncated, empty, not an image, over
            `decoding.MAX_PIXELS`, or of 32 bits a channel; the message names it.
        ValueError: an array of another type or shape, or no picture at all.
    """
    return np.array(_rgb(source))


def read_resized(source: Picture, size_px: int) -> Images:
    """Return the picture as (size_px, size_px, 3) uint8 RGB: `resize_image(read_image(source))`.

    >>> read_resized(np.full((2, 5), 7, dtype=np.uint8), 4).shape
    (4, 4, 3)

    Raises:
        FileNotFoundError, DatasetError, ValueError: as `read_image`.
    """
    return np.array(_resized(_rgb(source), size_px))


def resize_image(image: Images, size_px: int) -> Images:
    """Return the image as (size_px, size_px, 3) uint8, whatever its sides were.

    Bilinear with antialiasing, as torchvision's `Resize((size_px, size_px))` does to a PIL image.

    >>> resize_image(np.zeros((4, 6, 3), dtype=np.uint8), 2).shape
    (2, 2, 3)

    Source: hq-deng/RD4AD dataset.py, get_data_transforms.
    """
    return np.array(_resized(Image.fromarray(image), size_px))


def fitted(image: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Return the image with its longer side at most `side_px`, in its own proportions.

    >>> fitted(np.zeros((400, 200, 3), np.uint8), 100).shape
    (100, 50, 3)
    """
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def read_mask(path: str | Path, size_px: int | None = None) -> Masks:
    """Return the mask as booleans, True where there is a defect.

    As in the release: gray levels resized bilinearly, then a defect is what exceeds half of 255. A
    very small defect may vanish when it is made smaller.

    >>> from tempfile import TemporaryDirectory
    >>> levels = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     Image.fromarray(levels).save(Path(folder) / "mask.png")
    ...     read_mask(Path(folder) / "mask.png").tolist()
    [[False, False, True, True]]

    Args:
        path: a file of any kind that `read_image` reads; 0 is normal, 255 is defect.
        size_px: gives (size_px, size_px); None keeps the native (H, W).

    Raises:
        FileNotFoundError: no such file.
        DatasetError: as `read_image`; or levels that stay under half, such as 0 and 1.

    Source: hq-deng/RD4AD dataset.py and test.py, evaluation.
    """
    gray = read_gray(path)
    highest = int(gray.max())
    if 0 < highest < 128:
        raise DatasetError(
            f"the mask {path} has {highest} as its highest level, so no pixel would count as a "
            "defect: expected 0 for normal and 255 for defect; rewrite it with those two"
        )
    if size_px is not None:
        gray = np.asarray(_resized(Image.fromarray(gray), size_px))
    return gray > 127


def read_gray(path: str | Path) -> NDArray[np.uint8]:
    """Return the picture in `path` as (H, W) uint8 gray levels; raises as `read_image`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (2, 1), "white").save(Path(folder) / "a.png")
    ...     read_gray(Path(folder) / "a.png").tolist()
    [[255, 255]]
    """
    with opened(Path(path)) as image:
        return np.array(eight_bit(image, str(path)).convert("L"))


def read_mask_for(sample: Sample, size_px: int | None = None) -> Masks:
    """Return the mask of a sample, all False for a normal one.

    >>> normal = Sample("test/good/000.png", Path("000.png"), "good", 0, None)
    >>> read_mask_for(normal, size_px=2).tolist()
    [[False, False], [False, False]]

    Args:
        sample: one of a category's; only the header of its image is read.
        size_px: as in `read_mask`.

    Raises:
        DatasetError: a defect without a mask, or a mask of another size than its image; and as
            `read_mask`.
    """
    if sample.label and sample.mask_path is None:
        raise DatasetError(f"{sample.path} shows a defect but has no mask: pixels cannot be judged")
    if sample.mask_path is None:
        width, height = (size_px, size_px) if size_px else image_size(sample.path)
        return np.zeros((height, width), dtype=np.bool_)
    size, mask_size = image_size(sample.path), image_size(sample.mask_path)
    if size != mask_size:
        raise DatasetError(size_difference(sample.path, size, sample.mask_path, mask_size))
    return read_mask(sample.mask_path, size_px)


def size_difference(
    image: Path, size: tuple[int, int], mask: Path, mask_size: tuple[int, int]
) -> str:
    """Return the message for a mask whose (width, height) is not that of its image.

    >>> size_difference(Path("a.png"), (8, 6), Path("a_mask.png"), (8, 5)).partition(":")[0]
    'the mask a_mask.png is 8 x 5 pixels, its image a.png is 8 x 6'
    """
    return (
        f"the mask {mask} is {mask_size[0]} x {mask_size[1]} pixels, its image {image} is "
        f"{size[0]} x {size[1]}: expected one size; redraw or resize the mask"
    )


def read_images(
    sources: Sequence[Picture],
    size_px: int,
    *,
    workers: int | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> ImageBatch:
    """Return the pictures resized to `size_px`, decoded by several threads, in the given order.

    >>> gray = np.zeros((3, 5), dtype=np.uint8)
    >>> read_images([gray, gray], 4).images.shape
    (2, 4, 4, 3)

    Args:
        sources: as for `read_image`.
        size_px: side of the square result in pixels; shapes are not kept.
        workers: threads; by default one a processor, at most 8.
        skip_bad: leave out what cannot be read and say so in `skipped`.
        progress: called with (done, total) after every picture.

    Raises:
        DatasetError: something cannot be read, and `skip_bad` is off or nothing else is left; the
            message counts them and names the first.
    """
    images = np.empty((len(sources), size_px, size_px, 3), dtype=np.uint8)

    def read(index: int) -> str | None:
        try:
            images[index] = read_resized(sources[index], size_px)
        except (ValueError, OSError) as error:
            return str(error)
        return None

    problems = in_threads(read, range(len(sources)), workers=workers, progress=progress)
    skipped = tuple(problem for problem in problems if problem is not None)
    if skipped and (not skip_bad or len(skipped) == len(sources)):
        raise DatasetError(
            f"{len(skipped)} of {len(sources)} images cannot be read: {listed(skipped)}"
        )
    kept = tuple(index for index, problem in enumerate(problems) if problem is None)
    return ImageBatch(images[list(kept)] if skipped else images, kept, skipped)


def read_masks(
    samples: Sequence[Sample],
    size_px: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Masks:
    """Return the samples' masks, (N, size_px, size_px) bool, in order; see `read_mask_for`.

    >>> normal = Sample("test/good/000.png", Path("000.png"), "good", 0, None)
    >>> read_masks([normal, normal], 4).shape
    (2, 4, 4)
    """
    masks = in_threads(
        lambda sample: read_mask_for(sample, size_px), samples, workers=workers, progress=progress
    )
    return np.stack(masks) if masks else np.zeros((0, size_px, size_px), dtype=np.bool_)


def in_threads(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[_Result]:
    """Return `work(item)` for every item, in order; what is raised, Ctrl-C too, ends the rest.

    >>> in_threads(abs, [-2, 1, -3])
    [2, 1, 3]
    """
    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
    results: list[_Result] = []
    try:
        for result in pool.map(work, items):
            results.append(result)
            if progress:
                progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def prefetch(
    work: Callable[[_Item], _Result], items: Iterable[_Item], n_ahead: int
) -> Iterator[Future[_Result]]:
    """Yield the future of `work(item)` for every item, in order, while threads work on the next.

    >>> [future.result() for future in prefetch(abs, [-2, 1, -3], n_ahead=2)]
    [2, 1, 3]

    Args:
        work: what to do with an item.
        items: any number of them.
        n_ahead: how many are begun before they are asked for; bounds the memory.
    """
    pool = ThreadPoolExecutor(min(n_ahead, 8, os.cpu_count() or 1))
    begun: deque[Future[_Result]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > n_ahead:
                yield begun.popleft()
        while begun:
            yield begun.popleft()
    finally:
        pool.shutdown(cancel_futures=True)


def _rgb(source: Picture) -> Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return eight_bit(source, "the PIL image").convert("RGB")
    if isinstance(source, (str, Path)):
        with opened(Path(source)) as image:
            return eight_bit(image, str(source)).convert("RGB")
    raise ValueError(f"expected a path, a PIL image or a uint8 array; got {type(source).__name__}")


def _resized(image: Image.Image, size_px: int) -> Image.Image:
    return image.resize((size_px, size_px), Image.Resampling.BILINEAR)


def _from_array(array: NDArray[np.generic]) -> Image.Image:
    is_gray = array.ndim == 2
    if array.dtype != np.uint8 or not (is_gray or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(
            "expected an array (H, W, 3) uint8 RGB or (H, W) uint8 gray with levels 0 to 255; got "
            f"{array.shape} {array.dtype}: scale and convert it first"
        )
    if array.size == 0:
        raise ValueError(f"expected at least one pixel; got an array of shape {array.shape}")
    return Image.fromarray(array).convert("RGB")
