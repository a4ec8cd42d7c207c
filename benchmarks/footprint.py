"""Weigh an installation with torch and one without: size, install, start, memory of the server."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import perf_counter
from typing import Any

from host import write
from serving import HOME, elapsed, memory_mib, started, uploads

from rd4ad.web.live.mount import WAIT_SECONDS


def measured(requirements: str) -> dict[str, Any]:
    """Return what an environment of its own costs that has what a file of requirements names."""
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "-r", HOME / requirements]
        subprocess.run(install, check=True)
        row: dict[str, Any] = {"installed": requirements, "install_s": round(elapsed(began))}
        used = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True)
        row["mb"] = int(used.stdout.split()[0])
        for case in ("start_cold_s", "start_again_s"):  # cold: modules are compiled on the way
            began = perf_counter()
            with started(python) as (address, server):
                row[case] = elapsed(began)
                if case == "start_again_s":
                    time.sleep(WAIT_SECONDS + 10)  # the demo is built in the meantime
                    row["idle_mib"] = memory_mib(server)
                    found = uploads(address, server)
                    row["busy_mib"] = max(one["mib"] for one in found)
                    row["upload_s"] = found[0]["median_s"]
        return row


if __name__ == "__main__":
    note = (
        "A fresh environment each, packages from the index or the cache of pip; the explorer and "
        "the live demo run alike in both. Busy: after 500 uploads in a row and 64, 8 at once."
    )
    write("footprint", [measured("requirements-serve.txt"), measured("requirements.txt")], [], note)
