"""What a sweep will take, judged by earlier runs, and how many of its cells fit this machine."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rd4ad.sweeps.tasks import Study, Task, n_normal


@dataclass(frozen=True)
class Estimate:
    """What tasks will take, judged by earlier runs of the same method, backbone and size.

    Args:
        seconds: of one worker; of the tasks that are known.
        megabytes: of the run folders; of the tasks that are known.
        n_unknown: tasks of which there is no earlier run.
    """

    seconds: float
    megabytes: float
    n_unknown: int

    def describe(self, n_workers: int) -> str:
        """Return it in words.

        >>> Estimate(seconds=7200, megabytes=3.14, n_unknown=2).describe(n_workers=2)
        'about 1.0 hours on 2 workers and 3.1 MB by earlier runs, and 2 of which there is none'
        """
        hours = self.seconds / 3600 / n_workers
        told = f"about {hours:.1f} hours on {n_workers} workers and {self.megabytes:.1f} MB"
        more = f", and {self.n_unknown} of which there is none" if self.n_unknown else ""
        return f"{told} by earlier runs{more}"


def estimate(tasks: Sequence[Task], study: Study) -> Estimate:
    """Return what tasks will take; training time is proportional to images and epochs.

    Runs behind a URL are not looked at: that would fetch them all.
    """
    known: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for path in (study.folder / "runs").glob("*/run.json"):
        with suppress(ValueError, KeyError, TypeError):  # a damaged run tells nothing
            record = json.loads(path.read_text())
            training = record["training"]
            passes = training["n_images"] * max(training["epochs"] or 0, 1)
            size = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6
            key = record["method"], record["backbone"], record["size_px"]
            known.setdefault(key, []).append((training["seconds"] / passes, size))
    seconds, megabytes, n_unknown = 0.0, 0.0, 0
    for task in tasks:
        config = task.cell.config
        earlier = known.get((config.method, str(config.backbone), config.size_px))
        if earlier is None:
            n_unknown += 1
            continue
        n_images = n_normal(study, task.cell.category)
        passes = n_images * max(config.epochs or 0, 1)
        seconds += median(rate for rate, _ in earlier) * passes
        megabytes += median(size for _, size in earlier)
    return Estimate(seconds, megabytes, n_unknown)


def workers_for(study: Study, mib_each: int = 3000) -> int:
    """Return how many cells fit this machine at once, by its cores and its free memory.

    Args:
        study: for the threads of a cell.
        mib_each: memory of a cell: features kept, networks, optimizer, test images.
    """
    cores = (os.cpu_count() or 1) // study.n_threads
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return max(cores, 1)
    free = next(x for x in meminfo.read_text().splitlines() if x.startswith("MemAvailable"))
    return max(min(cores, int(free.split()[1]) // 1024 // mib_each), 1)
