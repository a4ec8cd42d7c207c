"""`rd4ad publish` against a small Hub, and what it assembles."""

import pytest
import yaml

from rd4ad.web.publish import SDKS, assemble, contents


@pytest.fixture(scope="module", params=SDKS)
def space(request, part_results, tmp_path_factory):
    """A kind of Space and the folder assembled for it."""
    folder = tmp_path_factory.mktemp("space") / request.param
    assemble(request.param, folder, part_results)
    return request.param, folder


def front_matter(folder) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


def test_the_front_matter_is_of_its_kind(space):
    sdk, folder = space
    head = front_matter(folder)
    assert head["sdk"] == sdk
    assert "rd4ad-explorer" in head["tags"]
    wanted = {"docker": "app_port", "gradio": "sdk_version", "static": "app_file"}[sdk]
    assert wanted in head
    assert len(head["short_description"]) <= 60  # the Hub takes no more


def test_nothing_goes_up_that_the_space_does_not_need(space):
    sdk, folder = space
    names = set(contents(folder))
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", ".git/"))]
    assert not [n for n in names if n.endswith(".pyc") or ".venv" in n]
    if sdk == "static":
        assert "index.html" in names
        assert "app.py" not in names
    else:
        assert {"app.py", "pages/about.py", "rd4ad/cli/parser.py", "LICENSE"} <= names
        assert ("Dockerfile" in names) == (sdk == "docker")
        pins = "requirements-serve.txt" if sdk == "docker" else "requirements.txt"
        assert ("gradio==" in (folder / pins).read_text()) == (sdk == "docker")
        assert "torch" not in (folder / pins).read_text()


def test_a_space_goes_up_whole_and_says_what_to_open(hub, finish, part_results):
    code, out, err = finish("publish", "me/demo", "--results", str(part_results))
    assert code == 0, err
    assert f"open {hub.address}/spaces/me/demo" in out
    files = hub.repos["space/me/demo"]
    assert {"app.py", "Dockerfile", "results/detectors/transistor.safetensors"} <= set(files)
    assert hub.sdks["space/me/demo"]["sdk"] == "docker"
    assert "RD4AD_TRUSTED_PROXIES" in str(hub.sdks["space/me/demo"])


def test_a_name_alone_is_the_users_own_and_a_second_time_renews_it(hub, finish, part_results):
    command = ["publish", "demo", "--sdk", "static", "--results", str(part_results)]
    assert finish(*command)[0] == 0
    hub.repos["space/me/demo"]["old.html"] = b"of a version before"
    code, _, err = finish(*command)
    assert code == 0, err
    assert "old.html" not in hub.repos["space/me/demo"]
    assert hub.commits == 2


def test_a_dry_run_sends_nothing(hub, finish, part_results):
    code, out, _ = finish("publish", "demo", "--dry-run", "--results", str(part_results))
    assert code == 0
    assert "nothing was sent" in out
    assert "MiB  results/" in out
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("name", "token", "said"),
    [
        ("me/demo", None, "hf auth login"),
        ("me/demo", "hf_wrong", "hf auth login"),
        ("somebody/demo", "hf_of_the_test", "may not write to somebody/demo"),
        ("me/taken", "hf_of_the_test", "was not made by this command"),
        ("a b/c d", "hf_of_the_test", "expected user/name"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence(hub, finish, part_results, name, token, said):
    hub.repos["space/me/taken"] = {"app.py": b"something else", "README.md": b"---\nsdk: x\n---\n"}
    code, _, err = finish(
        "publish", name, "--sdk", "static", "--results", str(part_results), token=token
    )
    assert code == 1
    assert said in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert hub.commits == 0


def test_without_a_network_it_says_so(finish, part_results):
    code, _, err = finish(
        "publish", "me/demo", "--sdk", "static", "--results", str(part_results),
        address="http://127.0.0.1:9",
    )  # fmt: skip
    assert code == 1
    assert "cannot be reached" in err
    assert "Traceback" not in err


def test_an_upload_that_was_killed_goes_on_and_sends_nothing_twice(
    hub, run_with, finish, part_results
):
    command = ["publish", "me/demo", "--results", str(part_results)]
    hub.pause_after = 3
    broken = run_with(*command)
    assert hub.paused.wait(120)
    broken.kill()
    broken.communicate()
    assert hub.commits == 0  # the Space did not change half-way
    assert hub.repos["space/me/demo"] == {}
    hub.pause_after = None
    code, _, err = finish(*command)
    assert code == 0, err
    assert len(hub.puts) == len(set(hub.puts)) > 3
    assert hub.commits == 1
