"""Put the explorer online as a Hugging Face Space: assemble what it needs, show it, upload it."""

import importlib.metadata
import re
import shutil
from pathlib import Path

from rd4ad.home import HOME, PACKAGE
from rd4ad.inference.hub import HubError, explained, logged_in

SDKS = ("docker", "gradio", "static")
_MARK = "rd4ad-explorer"  # a tag of the Spaces made here, so that no other one is written over
_SERVER_FILES = ("app.py", "pages", ".streamlit", "results", "docs/method.svg", "LICENSE",
                 "CITATION.cff")  # fmt: skip
_NOT_IN_A_SPACE = ("__pycache__", "site", "*.pyc", ".*.state")
# A Space's server sees its visitors' addresses through a proxy inside Hugging Face's own network.
_VARIABLES = [{"key": "RD4AD_TRUSTED_PROXIES", "value": "10.0.0.0/8,172.16.0.0/12"}]
# With these headers the runtime may use threads.
_STATIC = """sdk: static
app_file: index.html
custom_headers:
  cross-origin-embedder-policy: require-corp
  cross-origin-opener-policy: same-origin
  cross-origin-resource-policy: cross-origin"""
_HEAD = """---
title: RD4AD Explorer
emoji: 🔎
colorFrom: blue
colorTo: gray
{sdk}
license: apache-2.0
short_description: Anomaly detection by reverse distillation
tags:
  - {mark}
  - anomaly-detection
  - arxiv:2201.10703
---

# RD4AD Explorer

How good is reverse distillation at finding defects, why, and what does it say about your image?
Made by `rd4ad publish` of [rd4ad-explorer](https://arxiv.org/abs/2201.10703) {version}; the numbers
are stored runs and published values with their sources.
"""


def assemble(sdk: str, folder: Path, results: Path) -> None:
    """Write into `folder` all that a Space of this kind needs, and nothing else.

    Args:
        sdk: one of `SDKS`.
        folder: new, or empty.
        results: folder of results to show.

    Raises:
        FileNotFoundError: a file of the explorer is missing: the installation is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sdk == "static":
        from rd4ad.web.report.site import write_site

        write_site(results, folder, detectors=sorted((results / "detectors").glob("*.safetensors")))
        front = _STATIC
    else:
        ignored = shutil.ignore_patterns(*_NOT_IN_A_SPACE)
        shutil.copytree(PACKAGE, folder / "rd4ad", ignore=ignored)
        for name in _SERVER_FILES:
            source = results if name == "results" else HOME / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder / name)
        front = _server(sdk, folder)
    text = _HEAD.format(sdk=front, mark=_MARK, version=importlib.metadata.version("rd4ad-explorer"))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _server(sdk: str, folder: Path) -> str:
    """Write the files that only one kind of server needs; return its front matter."""
    pins = (HOME / "requirements-serve.txt").read_text(encoding="utf-8")
    if sdk == "docker":
        shutil.copy(HOME / "Dockerfile", folder / "Dockerfile")
        (folder / "requirements-serve.txt").write_text(pins, encoding="utf-8")
        return "sdk: docker\napp_port: 7860"
    gradio = re.search(r"^gradio==(\S+)$", pins, re.MULTILINE)
    assert gradio, "requirements-serve.txt pins gradio"
    # The Space installs Gradio itself, in the version that the front matter names.
    (folder / "requirements.txt").write_text(pins.replace(gradio[0] + "\n", ""), encoding="utf-8")
    return f'sdk: gradio\nsdk_version: {gradio[1]}\npython_version: "3.12"\napp_file: app.py'


def contents(folder: Path) -> dict[str, int]:
    """Return the bytes of every file below a folder by its name there, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def upload_space(name: str, sdk: str, folder: Path, *, private: bool = False) -> str:
    """Upload an assembled folder as a Space, new or made by this command before; return its page.

    An upload that broke off goes on when it is started again: files that the Hub has are not sent
    twice, and a Space changes all at once.

    Args:
        name: "user/name", or "name" for the user who is logged in.
        sdk: one of `SDKS`.
        folder: that `assemble` wrote.
        private: whether a new Space is.

    Raises:
        HubError: no login, the name is taken, no right to write there, no network.
    """
    from huggingface_hub import errors

    api = logged_in()
    with explained(name):
        if "/" not in name:
            name = f"{api.whoami()['name']}/{name}"
        variables = None if sdk == "static" else _VARIABLES
        try:
            api.create_repo(
                name, repo_type="space", space_sdk=sdk, private=private, space_variables=variables
            )
        except errors.HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            info = api.space_info(name)
            is_empty = {file.rfilename for file in info.siblings or ()} <= {
                "README.md",
                ".gitattributes",
            }
            if _MARK not in (info.tags or ()) and not is_empty:
                raise HubError(
                    f"the Space {name} exists and was not made by this command: choose another "
                    "name, or delete it first"
                ) from error
        api.upload_folder(
            repo_id=name, repo_type="space", folder_path=folder, delete_patterns="*",
            commit_message=f"Publish RD4AD Explorer ({sdk})",
        )  # fmt: skip
    return f"{api.endpoint}/spaces/{name}"
