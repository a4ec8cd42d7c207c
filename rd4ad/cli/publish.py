"""`rd4ad publish` and `rd4ad push`: the explorer as a Space, a detector as a model on the Hub."""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rd4ad.cli.command import UsageError, add_command


def add_publish(commands: Any) -> None:
    """Add `rd4ad publish` to the command line."""
    text = "Put the explorer online as a Hugging Face Space."
    parser = add_command(commands, "publish", _publish, text)
    parser.add_argument("name", help="user/name of the Space, or its name alone for your own")
    text = "docker or gradio: a server; static: tables and charts without a server, free of charge"
    parser.add_argument(
        "--sdk", default="docker", choices=("docker", "gradio", "static"), help=text
    )
    parser.add_argument("--private", action="store_true", help="make a new Space private")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the files and sizes, upload nothing"
    )
    parser.add_argument(
        "--results", type=Path, help="results folder; the explorer's own by default"
    )
    parser.add_argument("--out", type=Path, help="also write the uploaded files to this new folder")


def _publish(options: argparse.Namespace) -> int:
    from rd4ad.home import HOME
    from rd4ad.web.publish import assemble, contents, upload_space

    if options.out and options.out.exists():
        raise UsageError(f"--out {options.out} is there already: name a new folder")
    results = options.results or HOME / "results"
    if not results.is_dir():
        raise UsageError(f"--results {results} is no folder: expected one with runs/ in it")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary) / "space"
        assemble(options.sdk, folder, results)
        files = contents(folder)
        sizes: Counter[str] = Counter()
        for name, size in files.items():
            sizes[name.split("/")[0] + "/" * ("/" in name)] += size
        for name, size in sizes.most_common():
            print(f"{size / 2**20:9.2f} MiB  {name}")
        print(f"{sum(sizes.values()) / 2**20:9.2f} MiB  in {len(files)} files")
        if options.dry_run:
            print("nothing was sent (--dry-run)")
            return 0
        page = upload_space(options.name, options.sdk, folder, private=options.private)
    print(f"published; open {page} (a server takes some minutes to build)")
    return 0


def add_push(commands: Any) -> None:
    """Add `rd4ad push` to the command line."""
    text = "Put a detector on the Hugging Face Hub, with a card."
    parser = add_command(commands, "push", _push, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint, .safetensors")
    parser.add_argument("name", help="user/name of the model")
    parser.add_argument("--run", help="id of the stored run whose metrics appear on the card")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--private", action="store_true", help="make a new repository private")


def _push(options: argparse.Namespace) -> int:
    from rd4ad.inference.checkpoint import replace_file
    from rd4ad.inference.detector import Detector
    from rd4ad.runs.store import read_run

    run = read_run(options.results / "runs" / options.run) if options.run else None
    detector = Detector.load(options.checkpoint)
    address = detector.push_to_hub(options.name, run=run, private=options.private)
    print(f"the detector is at {address}")
    if run is not None:
        file = options.results / "hub.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        text = json.dumps(known | {run.record["run_id"]: address}, indent=1, sort_keys=True) + "\n"
        replace_file(file, lambda beside: beside.write_text(text))
        print(f"{file} links the run to it: the explorer shows the link on the run's card")
    return 0
