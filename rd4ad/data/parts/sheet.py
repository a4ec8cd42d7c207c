"""Contact sheet of the generated parts: `python -m rd4ad.data.parts.sheet docs/parts.jpg`."""

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation

from rd4ad.data.parts import PARTS, render

CELL_PX, GAP_PX, CAPTION_PX = 192, 8, 20
OUTLINE = (0, 158, 115)  # Okabe-Ito green
_BACKGROUND, _INK = "white", "#333333"


def contact_sheet(seed: int = 0) -> Image.Image:
    """Return one row a category: two normal parts, then one of each defect type, outlined."""
    columns = 2 + max(len(kinds) for kinds in PARTS.values())
    width = columns * (CELL_PX + GAP_PX) + GAP_PX
    height = len(PARTS) * (CELL_PX + CAPTION_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (category, kinds) in enumerate(PARTS.items()):
        cells = [("good", 0), ("good", 1), *((kind, 0) for kind in kinds)]
        for column, (kind, index) in enumerate(cells):
            x = GAP_PX + column * (CELL_PX + GAP_PX)
            y = GAP_PX + row * (CELL_PX + CAPTION_PX + GAP_PX)
            image, mask = render(category, kind, index, seed=seed)
            small = Image.fromarray(_outlined(image, mask)).resize((CELL_PX, CELL_PX))
            sheet.paste(small, (x, y))
            pen.text((x, y + CELL_PX + 2), f"{category}: {kind}", fill=_INK, font=font)
    return sheet


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    drawn = image.copy()
    drawn[binary_dilation(mask, iterations=4) & ~binary_dilation(mask, iterations=2)] = OUTLINE
    return drawn


if __name__ == "__main__":
    contact_sheet().save(sys.argv[1], quality=88)
