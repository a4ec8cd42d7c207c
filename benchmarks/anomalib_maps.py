"""anomalib's own maps through `rd4ad score`, beside the metrics that anomalib itself prints.

docs/anomalib_maps.py runs as a user would run it, in an environment with anomalib (peers.py makes
it), on a generated part with random weights; what is compared is the way of the maps, not a method.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from host import write
from peers import HOME, PACKAGES, installed

from rd4ad.data.parts import write_parts
from rd4ad.evaluation.external import score_maps, store_maps

CATEGORY = "tile"


def main() -> None:
    """Write results/bench/anomalib_maps.json."""
    python = installed()
    with tempfile.TemporaryDirectory() as folder:
        data, maps = Path(folder) / "parts", Path(folder) / "maps"
        write_parts(data, categories=(CATEGORY,), n_train=24, n_good=12, n_per_defect=6)
        script = str(HOME / "docs/anomalib_maps.py")
        run = (  # peer_worker lets torchvision be imported beside any build of torch
            f"import runpy, sys; sys.path.insert(0, {str(HOME / 'benchmarks')!r}); "
            "import peer_worker; peer_worker.prepare(); "
            f"runpy.run_path({script!r}, None, '__main__')"
        )
        command = [python, "-c", run, "--data", data, "--out", maps]
        command += ["--category", CATEGORY, "--random"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
        theirs = json.loads(done.stdout.strip().splitlines()[-1])
        ours = {row["metric"]: row["value"] for row in score_maps(maps, data, CATEGORY)}
        stored = store_maps(maps, data, CATEGORY, "anomalib PaDiM", results=Path(folder) / "r")
        kept = stored.run.metrics[stored.run.metrics["is_default"]].set_index("metric")["value"]
    rows = [
        {
            "case": title,
            "anomalib": round(theirs[f"{kind}_AUROC"], 6),
            "rd4ad score": round(ours[f"{kind}_auroc"], 6),
            "stored run": round(float(kept[f"{kind}_auroc"]), 6),
        }
        for kind, title in (("image", "image AUROC"), ("pixel", "pixel AUROC"))
    ]
    note = (
        f"{PACKAGES[0]}, PaDiM with random weights on the generated part {CATEGORY}; its maps as "
        "engine.predict gives them, written by docs/anomalib_maps.py. anomalib measures pixels at "
        "its own resolution of maps; a stored run keeps 128 px a side."
    )
    write("anomalib_maps", rows, [], note)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
