"""Beside other packages, turn by turn: anomalib's reverse distillation and PRO, adeval's metrics.

They are installed from the package index into .venv-peers, an environment of their own, and run in
a process of their own, which is asked between our turns. With `--released CHECKOUT` the peer is the
released code instead; see released.py.
"""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from host import summary, write
from inference import made as made_detector
from metrics import made as made_maps
from metrics import one_ranking
from training import CachedStep

from rd4ad.inference.detector import Detector
from rd4ad.metrics import aupro

HOME = Path(__file__).resolve().parents[1]
VENV = HOME / ".venv-peers"
PACKAGES = ("anomalib==2.7.0", "adeval==1.1.0")
SIZE_PX, N_MAPS, ROUNDS, REST_SECONDS = 256, 100, 15, 0.2


def installed() -> Path:
    """Return the Python of the peers' environment, made and filled where it is not there."""
    python = VENV / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    own = f"torch=={torch.__version__.split('+')[0]}"
    command = [python, "-m", "pip", "install", "-q", own, *PACKAGES]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return python


def ask(worker: "subprocess.Popen[str]", what: str) -> dict[str, float]:
    """Return what the peers' process took for one turn."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(what + "\n")
    worker.stdin.flush()
    answer: dict[str, float] = json.loads(worker.stdout.readline())
    return answer


def main() -> None:
    """Compare with the packages, or with the released code."""
    parser = argparse.ArgumentParser(description="Beside other packages, or the released code.")
    parser.add_argument("--released", type=Path, help="a checkout of hq-deng/RD4AD")
    options = parser.parse_args()
    if options.released:
        import released

        released.compare(options.released)
    else:
        packages()


def packages() -> None:
    """Measure and write results/bench/peers.json."""
    python = installed()
    masks, maps = made_maps(N_MAPS)
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        np.savez(home / "maps.npz", masks=masks, maps=maps)
        path = made_detector(home, "resnet18", SIZE_PX)
        detector = Detector.load(path, weights=home)
        image = np.random.default_rng(0).integers(0, 255, (1, SIZE_PX, SIZE_PX, 3), np.uint8)
        images = torch.rand(16, 3, SIZE_PX, SIZE_PX)
        step, lower = CachedStep("resnet18", images), CachedStep("resnet18", images, "bfloat16")
        pairs: dict[str, tuple[str, dict[str, Any]]] = {
            "inference": (
                "anomalib, one image",
                {"detector, one image": lambda: detector.judge(detector.distances(image))},
            ),
            "training": (
                "anomalib, training step of 16",
                {"training step of 16": step, "training step of 16, bfloat16": lower},
            ),
            "anomalib aupro": (
                "anomalib, PRO of 100 maps",
                {"PRO of 100 maps": lambda: values.update(ours=aupro(masks, maps))},
            ),
            "adeval metrics": (
                "adeval, AUROC, AP and PRO of 100 maps",
                {"AUROC, AP, F1-max and PRO of 100 maps": lambda: one_ranking(masks, maps)},
            ),
        }
        command = [python, HOME / "benchmarks/peer_worker.py", home]
        numbers = [str(SIZE_PX), str(torch.get_num_threads())]
        with subprocess.Popen(
            [*command, *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as worker:
            seconds: dict[str, list[float]] = {}
            for turn in range(ROUNDS + 1):  # the first allocates and does not count
                for what, (theirs, ours) in pairs.items():
                    time.sleep(REST_SECONDS)
                    said = ask(worker, what)
                    values[what] = said["value"]
                    taken = {theirs: said["seconds"]}
                    for name, run in ours.items():
                        time.sleep(REST_SECONDS)
                        began = perf_counter()
                        run()
                        taken[name] = perf_counter() - began
                    for name, value in taken.items():
                        seconds.setdefault(name, []).extend([value] if turn else [])
            assert worker.stdin
            worker.stdin.close()
    ratios = [
        {
            "ratio": f"{theirs} / {name}",
            "median": round(
                statistics.median(
                    a / b for a, b in zip(seconds[theirs], seconds[name], strict=True)
                ),
                2,
            ),
        }
        for theirs, ours in pairs.values()
        for name in ours
    ]
    note = (
        f"{', '.join(PACKAGES)}, in their own environment, in turn with ours; ResNet-18, "
        f"{SIZE_PX} px, random weights, {torch.get_num_threads()} threads. anomalib's image is a "
        f"normalized tensor, ours uint8. PRO at 0.3: ours {values['ours']:.6f}, anomalib "
        f"{values['anomalib aupro']:.6f}, adeval {values['adeval metrics']:.6f} "
        "(of 1,000 strips; ours is exact)."
    )
    rows = [{"case": name} | summary(taken) for name, taken in seconds.items()]
    write("peers", rows, ratios, note)


if __name__ == "__main__":
    main()
