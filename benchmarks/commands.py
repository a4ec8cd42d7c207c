"""Whole commands, from their start to their end: help, one image, sixty JPEGs of 1024 px.

    python benchmarks/commands.py [--before CHECKOUT] [--many]

With another checkout of this repository each case is run by both, turn by turn. `--many` judges
10,000 images instead and prints how much memory that takes.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from host import interleaved, summary, write
from PIL import Image

from rd4ad.data.parts import PARTS, render

HOME = Path(__file__).resolve().parents[1]
DETECTOR = HOME / "results/detectors/tile.safetensors"
N_IMAGES, SIDE_PX, ROUNDS = 60, 1024, 5
MANY = (100, 1_000, 10_000)


def photos(folder: Path) -> list[Path]:
    """Write JPEGs of 1024 px, each sixteen generated parts: as detailed as a photo."""
    kinds = sorted(PARTS["tile"])
    files = []
    for i in range(N_IMAGES):
        tiles = [render("tile", kinds[(i + k) % len(kinds)], 16 * i + k)[0] for k in range(16)]
        rows = [np.concatenate(tiles[4 * row : 4 * row + 4], 1) for row in range(4)]
        picture = Image.fromarray(np.concatenate(rows)).resize((SIDE_PX, SIDE_PX))
        files.append(folder / f"{i:02}.jpg")
        picture.save(files[-1], quality=90)
    return files


def run(checkout: Path, *arguments: str | Path) -> bool:
    """Run a command of a checkout; return whether it knew how."""
    done = subprocess.run(
        [sys.executable, "-m", "rd4ad.cli", *map(str, arguments)],
        cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, capture_output=True,
    )  # fmt: skip
    return done.returncode == 0


def commit_of(checkout: Path) -> str:
    """Return the short commit of a checkout."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def compare(before: Path | None) -> None:
    """Write results/bench/commands.json."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "photos").mkdir()
        files = photos(home / "photos")
        predict = ("predict", DETECTOR)
        out = ("--out", home / "out")
        commands: dict[str, tuple[str | Path, ...]] = {
            "rd4ad --help": ("--help",),
            "predict, one image": (*predict, files[0], *out),
            f"predict, {N_IMAGES} images": (*predict, home / "photos", *out),
            f"predict, {N_IMAGES} images, no overlays": (
                *predict, home / "photos", *out, "--overlays", "none",
            ),
        }  # fmt: skip
        checkouts = {"": HOME} | ({"before: ": before} if before else {})
        cases = {
            f"{label}{name}": lambda where=where, words=words: run(where, *words)
            for name, words in commands.items()
            for label, where in checkouts.items()
            if run(where, *words)
        }
        seconds = interleaved(cases, ROUNDS, rest_seconds=0.3)
    rows = [{"case": name} | summary(taken) for name, taken in seconds.items()]
    ratios = []
    for name in commands:
        if f"before: {name}" in seconds and name in seconds:
            pairs = zip(seconds[f"before: {name}"], seconds[name], strict=True)
            middle = float(np.median([a / b for a, b in pairs]))
            ratios.append({"ratio": f"{name}: before / now", "median": round(middle, 2)})
    one = float(np.median(seconds["predict, one image"]))
    note = "Whole processes, start and imports included; detector tile, 256 px, two threads."
    for name in (f"predict, {N_IMAGES} images", f"predict, {N_IMAGES} images, no overlays"):
        each = (float(np.median(seconds[name])) - one) / (N_IMAGES - 1)
        note += f" {name}: {1000 * each:.1f} ms for each further image."
    if before:
        note += f" Before: commit {commit_of(before)}."
    write("commands", rows, ratios, note)


def many() -> None:
    """Print the peak memory of predicting on 100, 1,000 and 10,000 images."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "photos").mkdir()
        files = photos(home / "photos")
        for count in MANY:
            links = home / f"links-{count}"
            links.mkdir()
            for i in range(count):
                (links / f"{i:05}.jpg").symlink_to(files[i % len(files)])
            began = perf_counter()
            command = ["predict", DETECTOR, links, "--out", home / "out", "--overlays", "none"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            assert run(HOME, *command)
            peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
            print(f"{count:>6} images: {perf_counter() - began:.1f} s, at most {peak:.0f} MiB")


def main() -> None:
    """Compare, or try many images."""
    parser = argparse.ArgumentParser(description="Time whole commands.")
    parser.add_argument("--before", type=Path, help="another checkout, to be run in turn")
    parser.add_argument("--many", action="store_true", help="10,000 images: memory")
    parser.add_argument("--quick", action="store_true", help="three rounds, nothing written")
    options = parser.parse_args()
    if options.many:
        many()
    else:
        compare(options.before)


if __name__ == "__main__":
    main()
