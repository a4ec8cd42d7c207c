"""PatchCore from 30 photos with the bundled compact teacher at 256 px: its fit, and an image.

Two ways to fit: the method as trained (torch, a tenth of all patches of layers 2 and 3), and as the
page Teach does (ONNX Runtime and NumPy, layers 1, 2 and 3 pooled, 4,096 patches). Judged in ONNX
Runtime, beside PaDiM of the same teacher and photos, which has no graph and runs in torch.
"""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import tempfile
from pathlib import Path

import numpy as np
from host import interleaved, summary, write

from rd4ad.config import TrainingConfig
from rd4ad.data.parts import render, write_parts
from rd4ad.inference.detector import Detector
from rd4ad.teach.memory import Recipe
from rd4ad.training.category import train

PART, N_PHOTOS, SIZE_PX = "nut", 30, 256


def main() -> None:
    """Write results/bench/patchcore.json."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_parts(home, categories=(PART,), n_train=N_PHOTOS, n_good=1, n_per_defect=1)
        photos = np.stack(
            [render(PART, "good", i, split="train")[0][:SIZE_PX, :SIZE_PX] for i in range(N_PHOTOS)]
        )

        def fitted(method: str) -> Detector:
            config = TrainingConfig(method=method, backbone="compact", holdout=0.0)
            out = home / f"{method}.safetensors"
            train(home, PART, config, out=out)
            return Detector.load(out)

        recipe = Recipe(backbone="compact", place=0.0)

        def taught() -> None:
            recipe.memory(recipe.patches(photos))

        detectors = {name: fitted(name) for name in ("padim", "patchcore", "patchcore_1")}
        taught()
        fits = interleaved(
            {
                "fit PatchCore-10%": lambda: fitted("patchcore"),
                "fit PatchCore-1%": lambda: fitted("patchcore_1"),
                "fit PaDiM": lambda: fitted("padim"),
                "fit the memory of Teach": taught,
            },
            rounds=5,
            rest_seconds=0.3,
        )
        image = photos[:1]
        judged = interleaved(
            {
                f"one image, {name}": lambda one=one: one.judge(one.distances(image))
                for name, one in (
                    ("PatchCore-10%", detectors["patchcore"]),
                    ("PatchCore-1%", detectors["patchcore_1"]),
                    ("PaDiM", detectors["padim"]),
                )
            },
            rounds=40,
            rest_seconds=0.1,
        )
    seconds = fits | judged
    rows = [{"case": name} | summary(taken) for name, taken in seconds.items()]
    ratios = []
    for name in ("PatchCore-10%", "PatchCore-1%"):
        pairs = zip(judged[f"one image, {name}"], judged["one image, PaDiM"], strict=True)
        middle = float(np.median([a / b for a, b in pairs]))
        ratios.append({"ratio": f"one image, {name} / PaDiM", "median": round(middle, 2)})
    write("patchcore", rows, ratios, " ".join((__doc__ or "").split("\n\n")[1].split()))


if __name__ == "__main__":
    main()
