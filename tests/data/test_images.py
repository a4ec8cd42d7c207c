"""Pictures and masks as arrays, one or many."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.folders import DatasetError, Sample, open_category
from rd4ad.data.images import (
    in_threads,
    read_image,
    read_images,
    read_mask,
    read_mask_for,
    read_masks,
    resize_image,
)

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_an_array_is_returned_as_a_copy() -> None:
    image = read_image(RGB)
    np.testing.assert_array_equal(image, RGB)
    image[:] = 0
    assert RGB.any()


def test_a_gray_array_and_an_array_that_is_not_contiguous_are_read() -> None:
    np.testing.assert_array_equal(read_image(RGB[:, :, 0])[:, :, 2], RGB[:, :, 0])
    np.testing.assert_array_equal(read_image(RGB[::2, ::-1]), RGB[::2, ::-1])


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.float32) / 255,
        RGB.astype(np.int64),
        RGB[:, :, :2],
        np.dstack([RGB, RGB[:, :, 0]]),
        RGB[None],
        RGB[:, :, :1],
        RGB[:0],
        RGB > 127,
    ],
)
def test_any_other_array_is_refused_with_its_shape(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=str(array.shape).replace("(", r"\(").replace(")", r"\)")):
        read_image(array)


def test_what_is_no_picture_at_all_is_refused_with_its_type() -> None:
    with pytest.raises(ValueError, match="got bytes"):
        read_image(b"picture")  # type: ignore[arg-type]


def test_resizing_is_pillow_s_antialiased_bilinear_one() -> None:
    expected = Image.fromarray(RGB).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_image(RGB, 8), np.asarray(expected))
    np.testing.assert_array_equal(resize_image(RGB[:, :20], 20), RGB[:, :20])


def test_resizing_is_torchvision_s() -> None:
    pytest.importorskip("torch")
    from rd4ad.methods import vision  # noqa: F401  (makes torchvision importable)

    transforms = pytest.importorskip("torchvision.transforms")
    expected = transforms.Resize((13, 13))(Image.fromarray(RGB))
    np.testing.assert_array_equal(resize_image(RGB, 13), np.asarray(expected))


def test_many_pictures_keep_their_order_and_equal_those_read_alone(tmp_path: Path) -> None:
    sources: list[Path | np.ndarray | Image.Image | str] = []
    for i in range(12):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.roll(RGB, i, axis=1)).save(path)
        rolled = np.roll(RGB, i, axis=1)
        sources.append([path, str(path), Image.fromarray(rolled), rolled][i % 4])
    read = read_images(sources, 16, workers=4)
    assert read.images.shape == (12, 16, 16, 3)
    assert read.kept == tuple(range(12))
    assert read.skipped == ()
    for i in range(12):
        np.testing.assert_array_equal(
            read.images[i], resize_image(np.roll(RGB, i, axis=1), 16), strict=True
        )


def test_no_pictures_are_an_empty_batch() -> None:
    assert read_images([], 16).images.shape == (0, 16, 16, 3)


def test_bad_files_stop_the_reading_and_are_all_named(tmp_path: Path) -> None:
    sources = bad_among_good(tmp_path)
    with pytest.raises(DatasetError) as caught:
        read_images(sources, 16)
    message = str(caught.value)
    assert message.startswith("2 of 4 images cannot be read")
    assert "b.png" in message
    assert "d.png" in message


def test_bad_files_are_skipped_and_reported_when_asked(tmp_path: Path) -> None:
    sources = bad_among_good(tmp_path)
    read = read_images(sources, 16, skip_bad=True)
    assert read.kept == (0, 2)
    np.testing.assert_array_equal(read.images, read_images([RGB, RGB[::-1]], 16).images)
    assert ["b.png" in read.skipped[0], "d.png" in read.skipped[1]] == [True, True]


def test_nothing_but_bad_files_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="1 of 1 images"):
        read_images([tmp_path / "absent.png"], 16, skip_bad=True)


def test_a_long_list_of_bad_files_is_cut_and_counted(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"(?s)9 of 9 .*4\.png\nand 4 more$"):
        read_images([tmp_path / f"{i}.png" for i in range(9)], 16)


def test_progress_is_told_after_every_picture() -> None:
    told: list[tuple[int, int]] = []
    read_images([RGB] * 3, 8, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupt_ends_the_work_that_waits() -> None:
    started: list[int] = []

    def work(item: int) -> None:
        started.append(item)
        time.sleep(0.01)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(500), workers=1, progress=interrupt)
    assert len(started) < 50


def test_a_mask_is_what_exceeds_half(tmp_path: Path, draw_mask) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(path)
    assert read_mask(path).tolist() == [[False, False, True, True]]
    assert read_mask(draw_mask(path, size=(8, 6)), 4).tolist() == [[True, True, False, False]] * 4


def test_a_mask_is_resized_in_gray_and_then_cut(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[3:20, 5:9] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(mask).save(path)
    small = np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read_mask(path, 8), small / 255 > 0.5)


def test_a_mask_may_be_of_any_kind_of_image(tmp_path: Path) -> None:
    marked = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    kinds = {
        "bits.png": Image.fromarray(marked > 0),
        "deep.png": Image.fromarray(marked.astype(np.uint16) * 257),
        "rgb.bmp": Image.fromarray(marked).convert("RGB"),
        "palette.gif": Image.fromarray(marked).convert("P"),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), marked > 0)


def test_a_mask_of_zeros_and_ones_is_refused(tmp_path: Path, draw_mask) -> None:
    path = draw_mask(tmp_path / "mask.png", level=1)
    with pytest.raises(DatasetError, match=r"mask\.png has 1 as its highest level.*0 .*255"):
        read_mask(path)


def test_a_mask_that_marks_nothing_is_all_false(tmp_path: Path, draw_mask) -> None:
    assert not read_mask(draw_mask(tmp_path / "mask.png", level=0)).any()


def test_masks_of_a_category_are_in_the_order_of_its_samples(data: Path) -> None:
    samples = open_category(data, "nut").test
    masks = read_masks(samples, 4)
    assert masks.shape == (5, 4, 4)
    assert masks.any(axis=(1, 2)).tolist() == [bool(sample.label) for sample in samples]
    assert read_masks((), 4).shape == (0, 4, 4)


def test_at_native_size_a_mask_has_the_shape_of_its_image(data: Path) -> None:
    for sample in open_category(data, "nut").test:
        assert read_mask_for(sample).shape == read_image(sample.path).shape[:2] == (6, 8)


def test_a_mask_of_another_size_than_its_image_names_both(data: Path, draw_mask) -> None:
    draw_mask(data / "nut/ground_truth/bent/000_mask.png", size=(6, 8))
    bent = open_category(data, "nut").test[0]
    with pytest.raises(DatasetError, match=r"000_mask\.png is 6 x 8 .*000\.png is 8 x 6"):
        read_mask_for(bent, 4)


def test_a_mask_drawn_on_the_upright_picture_fits_a_turned_file(tmp_path: Path, draw_mask) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "000.jpg"
    Image.fromarray(RGB).save(photo, exif=exif)
    mask = draw_mask(tmp_path / "000_mask.png", size=(20, 30))
    assert read_mask_for(Sample("test/x/000.jpg", photo, "x", 1, mask)).shape == (30, 20)


def test_a_defect_without_a_mask_has_no_pixels_to_judge(tmp_path: Path) -> None:
    sample = Sample("test/x/000.png", tmp_path / "000.png", "x", 1, None)
    with pytest.raises(DatasetError, match=r"000\.png shows a defect but has no mask"):
        read_mask_for(sample, 4)


def bad_among_good(folder: Path) -> list[Path]:
    """Write a.png and c.png whole, b.png cut off; d.png does not exist."""
    paths = [folder / f"{name}.png" for name in "abcd"]
    Image.fromarray(RGB).save(paths[0])
    paths[1].write_bytes(paths[0].read_bytes()[:200])
    Image.fromarray(RGB[::-1]).save(paths[2])
    return paths
