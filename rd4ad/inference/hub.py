"""Detectors on the Hugging Face Hub: fetched, or put there with a card that says what they are.

A repository holds model.safetensors, which is the checkpoint, and README.md, the card. What the
Hub refuses becomes one sentence, a `HubError`, that says what to do.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

FILE = "model.safetensors"
_LICENSES = {"MVTec AD": "cc-by-nc-sa-4.0"}  # of what a detector was trained on; ours otherwise
_SHOWN = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO (limit 0.3)"}


class HubError(OSError):
    """The Hub did not do what was asked; the message says why and what to do."""


class Evaluated(Protocol):
    """What a card takes of a stored run; `rd4ad.runs.run.Run` has it."""

    @property
    def record(self) -> dict[str, Any]:
        """Its run.json."""

    @property
    def metrics(self) -> Any:
        """Its table of metrics, a data frame."""


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what huggingface_hub raises about a repository into a `HubError`."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except (errors.LocalTokenNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise HubError(_login() if isinstance(error, ValueError) else str(error)) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{name} is not on the Hub, or it is private and this login may not read it"
        ) from error
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
        raise HubError(f"{name} has no {FILE} there: it holds no detector of this kind") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise HubError(_login()) from error
        if status == 403:
            raise HubError(
                f"this login may not write to {name}: take a token with write access, and your "
                "own name or an organization of yours before the slash"
            ) from error
        raise HubError(f"the Hub answered {status} about {name}: {error}") from error
    except errors.HFValidationError as error:
        raise HubError(f"{name!r} is no name of a repository: expected user/name") from error
    except (httpx2.TransportError, errors.LocalEntryNotFoundError) as error:
        raise HubError(
            "the Hub cannot be reached: check the network and run this again; what was sent "
            "already is not sent twice"
        ) from error


def _login() -> str:
    return "no valid login to the Hub: run `hf auth login`, or set HF_TOKEN to a token of yours"


def logged_in(token: str | None = None) -> Any:
    """Return the Hub's interface for a login.

    Raises:
        HubError: there is none.
    """
    from huggingface_hub import HfApi, get_token

    if not (token or get_token()):
        raise HubError(_login())
    return HfApi(token=token, library_name="rd4ad")


def fetch(name: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Return the local path of a detector's checkpoint, from the cache where it is there.

    Args:
        name: "user/name" of a repository, or a folder that holds model.safetensors.
        revision: branch, tag or commit.
        token: of the Hub, by default the one that is logged in.

    Raises:
        HubError: no such repository, no such file, no network.
    """
    if (Path(name) / FILE).is_file():
        return Path(name) / FILE
    from importlib.metadata import version

    from huggingface_hub import hf_hub_download

    with explained(name):
        file = hf_hub_download(
            name,
            FILE,
            revision=revision,
            token=token,
            library_name="rd4ad",
            library_version=version("rd4ad-explorer"),
        )
        return Path(file)


def push(folder: Path, name: str, *, private: bool = False, token: str | None = None) -> str:
    """Put the checkpoint and the card in `folder` on the Hub; return their address.

    Raises:
        HubError: no login, no right to write there, no network.
    """
    api = logged_in(token)
    with explained(name):
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Store the detector")
    return f"{api.endpoint}/{name}"


def card(header: Mapping[str, Any], name: str, run: Evaluated | None) -> str:
    """Return a detector's card: metrics as `model-index`, data, license, threshold, snippet.

    Args:
        header: of its checkpoint.
        name: "user/name".
        run: in which it was evaluated, if it was.
    """
    import yaml

    dataset = str(run.record["dataset"]) if run else ""
    category = str(header.get("config", {}).get("category", "its part"))
    front: dict[str, Any] = {
        "library_name": "rd4ad",
        "pipeline_tag": "image-segmentation",
        "license": _LICENSES.get(dataset, "apache-2.0"),
        "tags": ["anomaly-detection", header["method"].replace("_", "-"), "arxiv:2201.10703"],
    }
    if run:
        front["model-index"] = [_entry(name, run)]
    lines = [
        "---", yaml.safe_dump(front, sort_keys=False).strip(), "---", "",
        f"# {name.rpartition('/')[2]}: anomalies of {category}", "",
        f"A detector of anomalies in images of {category}, trained on normal images alone: "
        f"{header['method'].replace('_', ' ')} on the {header['backbone']} teacher, "
        f"{header['size_px']} px.", "",
    ]  # fmt: skip
    if run:
        lines += _table(run)
    lines += ["## Threshold", "", _threshold(header), "", "## Use", "", *_snippet(name), ""]
    return "\n".join(lines)


def _entry(name: str, run: Evaluated) -> dict[str, Any]:
    dataset, category = run.record["dataset"], run.record["category"]
    return {
        "name": name.rpartition("/")[2],
        "results": [
            {
                "task": {"type": "image-segmentation", "name": "anomaly detection"},
                "dataset": {"type": f"{dataset}/{category}", "name": f"{dataset}, {category}"},
                "metrics": [
                    {"type": metric, "name": title, "value": round(value, 4)}
                    for metric, title, value, _ in _metrics(run)
                ],
            }
        ],
    }


def _metrics(run: Evaluated) -> Iterator[tuple[str, str, float, tuple[float, float]]]:
    own = run.metrics[run.metrics["is_default"]].set_index("metric")
    for metric, title in _SHOWN.items():
        if metric in own.index and own["value"].notna()[metric]:
            row = own.loc[metric]
            yield metric, title, float(row["value"]), (float(row["ci_low"]), float(row["ci_high"]))


def _table(run: Evaluated) -> list[str]:
    record = run.record
    rows = [
        f"| {title} | {100 * value:.1f} | {100 * low:.1f} to {100 * high:.1f} |"
        for _, title, value, (low, high) in _metrics(run)
    ]
    return [
        "## Metrics", "",
        f"On the {record['n_test_images']} test images of {record['dataset']}, "
        f"{record['category']}; percent, with 95% intervals over images.", "",
        "| metric | value | interval |", "|---|---|---|", *rows, "",
        f"Run `{record['run_id']}`, seed {record['seed']}.", "",
    ]  # fmt: skip


def _threshold(header: Mapping[str, Any]) -> str:
    kept = header.get("calibration")
    if not kept:
        return "It carries none: every normal image was trained on. Choose one on images of yours."
    return (
        f"The {100 * kept['quantile']:g}% quantile of the scores of {len(kept['scores'])} normal "
        "images held out of the training; no defect had a part in it."
    )


def _snippet(name: str) -> list[str]:
    return [
        "```python", "from rd4ad import Detector", "",
        f'detector = Detector.from_pretrained("{name}")',
        'found = detector.predict("part.png")[0]',
        "print(found.score, found.is_anomalous, found.anomaly_map.shape)", "```",
    ]  # fmt: skip


@contextmanager
def folder_of(save: Any, text: str) -> Iterator[Path]:
    """Give a folder for `push`: what `save(path)` writes as checkpoint, and the card's text."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / FILE)
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        yield Path(folder)
