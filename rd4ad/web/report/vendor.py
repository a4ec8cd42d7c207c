"""The two packages of other people that the static site needs, never copied into this repository.

The pinned packages come from npm where it is installed, or from a folder; each file must have its
digest. Without either, the pages link a public CDN, and the browser checks the same digests.
"""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

CDN = "https://cdn.jsdelivr.net/npm"
_NPM_SECONDS = 300
_SOURCES = "sources.json"  # where the runtime's files are, if not beside the pages


@dataclass(frozen=True)
class Package:
    """A package of npm: name, version, the sha512 of its archive, and the files that are taken.

    Args:
        files: path inside the package and the file's sha384 by its name on the site.
    """

    name: str
    version: str
    sha512: str
    files: dict[str, tuple[str, str]]


PACKAGES = (
    Package(
        "plotly.js-basic-dist-min",
        "3.7.0",
        "84KPQhLTrO5IHu6DCte2KwA4bzSoVIdIs3uDPWid3sgeTX8L5RjpDARjCG3spgOwQ8MYE8PL+MeQ0DQRWA1Emw==",
        {
            "plotly.min.js": (
                "plotly-basic.min.js",
                "XPf/yZU+7YHOOK1zu0qFyjETky28iDlzWu1QBMXPoONR5S4zywnrXdgSClQyPcYb",
            )
        },
    ),
    Package(
        "onnxruntime-web",
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        {
            "ort.wasm.min.mjs": (
                "dist/ort.wasm.min.mjs",
                "SfFfy/pvthiOsgaw3KX0bV5TfQ6Iq+oY9KutMe4SxIuHH4cl+DCSD4rTsYOoG1tJ",
            ),
            "ort-wasm-simd-threaded.mjs": (
                "dist/ort-wasm-simd-threaded.mjs",
                "XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
            ),
            "ort-wasm-simd-threaded.wasm": (
                "dist/ort-wasm-simd-threaded.wasm",
                "vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
            ),
            "ort.webgpu.min.mjs": (
                "dist/ort.webgpu.min.mjs",
                "FPQBMbud8ICuP0Ii+Gr95KWEX9pKHtUC3lacIp0aPI8WYluKvTsEGQ3AE2Ze3QlL",
            ),
            "ort-wasm-simd-threaded.asyncify.mjs": (
                "dist/ort-wasm-simd-threaded.asyncify.mjs",
                "qViEcCGzsR/m8nlQwIsbYh7afN4thuraqFYDQY6huvmoLVoZq/eYawQ1wrv8nnhA",
            ),
            "ort-wasm-simd-threaded.asyncify.wasm": (
                "dist/ort-wasm-simd-threaded.asyncify.wasm",
                "EPVDLTxuO663dkZO/pcKJF6vOyyfq/5z9FY1oksN0UWFX2ABH4wDDZQHeNoUleWR",
            ),
        },
    ),
)


class VendorError(ValueError):
    """A package cannot be had, or is not the one that is pinned."""


def write_vendor(out: Path, vendor: Path | None) -> bool:
    """Write vendor/ below `out`; return whether it holds the packages, and not links to a CDN.

    Args:
        out: folder of the site, whose pages are there.
        vendor: folder with the files by their names on the site, or with npm's archives.

    Raises:
        VendorError: a file of `vendor` is missing or another one, or npm gave another package.
        OSError: `out` cannot be written.
    """
    folder = out / "vendor"
    folder.mkdir(parents=True, exist_ok=True)
    if vendor is not None:
        return _copied(vendor, folder)
    if shutil.which("npm"):
        with tempfile.TemporaryDirectory() as temporary:
            if _from_npm(Path(temporary)):
                return _copied(Path(temporary), folder)
    _link_cdn(out)
    return False


def _copied(source: Path, folder: Path) -> bool:
    for package in PACKAGES:
        _from_folder(package, source, folder)
    (folder / _SOURCES).write_text("{}", encoding="utf-8")  # nothing comes from elsewhere
    return True


def _from_npm(folder: Path) -> bool:
    """Fetch the packages' archives into a folder; False where npm cannot reach them."""
    names = [f"{package.name}@{package.version}" for package in PACKAGES]
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), *names]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_NPM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _from_folder(package: Package, source: Path, folder: Path) -> None:
    archive = source / f"{package.name}-{package.version}.tgz"
    if archive.is_file():
        contents = _unpacked(package, archive)
    else:
        contents = {}
        for name in package.files:
            path = source / name
            if not path.is_file():
                raise VendorError(
                    f"{source} holds neither {archive.name} nor {name}: `npm pack "
                    f"{package.name}@{package.version}` fetches the archive"
                )
            contents[name] = path.read_bytes()
    for name, (_, digest) in package.files.items():
        content = contents[name]
        if base64.b64encode(hashlib.sha384(content).digest()).decode() != digest:
            raise VendorError(f"{name} is not that of {package.name} {package.version}")
        (folder / name).write_bytes(content)


def _unpacked(package: Package, archive: Path) -> dict[str, bytes]:
    """Return the wanted files of an archive by their names on the site."""
    content = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != package.sha512:
        raise VendorError(f"{archive} is not {package.name} {package.version} as published")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as unpacked:
        for name, (inside, _) in package.files.items():
            member = unpacked.extractfile(f"package/{inside}")
            assert member is not None  # the archive's digest is the pinned one
            found[name] = member.read()
    return found


def _link_cdn(out: Path) -> None:
    """Let the pages load the packages from a CDN, with the digests that the browser checks."""
    sources = {
        name: {
            "url": f"{CDN}/{package.name}@{package.version}/{inside}",
            "integrity": f"sha384-{digest}",
        }
        for package in PACKAGES
        for name, (inside, digest) in package.files.items()
    }
    (out / "vendor" / _SOURCES).write_text(json.dumps(sources, indent=1), encoding="utf-8")
    plotly = sources["plotly.min.js"]
    host = re.match(r"https://[^/]+", CDN)
    assert host is not None
    for page in out.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = text.replace(
            'src="vendor/plotly.min.js"',
            f'src="{plotly["url"]}" integrity="{plotly["integrity"]}" crossorigin="anonymous"',
        )
        text = text.replace("script-src 'self'", f"script-src 'self' blob: {host[0]}")
        text = text.replace("connect-src 'self'", f"connect-src 'self' blob: {host[0]}")
        page.write_text(text, encoding="utf-8")
