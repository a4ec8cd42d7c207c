"""Datasets on disk: pictures, folders in MVTec layout, and what is wrong with them."""

from rd4ad.data.checks import check_dataset
from rd4ad.data.folders import (
    Category,
    DatasetError,
    Problem,
    Sample,
    list_categories,
    open_category,
)
from rd4ad.data.images import (
    ImageBatch,
    read_image,
    read_images,
    read_mask,
    read_mask_for,
    read_masks,
    resize_image,
)

__all__ = [
    "Category",
    "DatasetError",
    "ImageBatch",
    "Problem",
    "Sample",
    "check_dataset",
    "list_categories",
    "open_category",
    "read_image",
    "read_images",
    "read_mask",
    "read_mask_for",
    "read_masks",
    "resize_image",
]
