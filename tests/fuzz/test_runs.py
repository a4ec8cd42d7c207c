"""Run folders with a mutated file: read, or a ValueError that names the file; the index goes on."""

import shutil

import pytest

from rd4ad.runs.index import broken_runs, update_index
from rd4ad.runs.store import read_run

FILES = ("run.json", "metrics.csv", "images.parquet", "curves.parquet", "distances.npz")
N_FILES = 150


@pytest.fixture
def run_folder(part_results, tmp_path):
    """A copy of a stored run."""
    source = next(path for path in sorted((part_results / "runs").iterdir()) if path.is_dir())
    shutil.copytree(source, tmp_path / "results/runs" / source.name)
    return tmp_path / "results/runs" / source.name


@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_is_read_or_named(name, run_folder, mutations, watched):
    whole = (run_folder / name).read_bytes()
    said = []
    for content in mutations(whole, N_FILES):
        (run_folder / name).write_bytes(content)
        with watched():
            try:
                run = read_run(run_folder)
                run.check()
                run.masks()
            except ValueError as error:
                said.append(str(error))
    assert said
    assert all(name in one for one in said)


@pytest.mark.parametrize("name", FILES)
def test_the_index_skips_what_is_damaged_and_says_so(name, run_folder, mutations, watched):
    results = run_folder.parents[1]
    whole = (run_folder / name).read_bytes()
    for content in mutations(whole, 20):
        (run_folder / name).write_bytes(content)
        shutil.rmtree(results / "index.parquet", ignore_errors=True)
        with watched():
            update_index(results)
            broken_runs(results)
