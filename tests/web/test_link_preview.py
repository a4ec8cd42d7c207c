"""What a shared link shows, asked over HTTP as a messenger would, and as an attacker."""

import re
import urllib.request

import pytest

from rd4ad.home import HOME
from rd4ad.web.link_preview import descriptions


def page(address: str, path: str, **headers: str) -> str:
    request = urllib.request.Request(f"{address}{path}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def told(html: str) -> dict[str, str]:
    return dict(re.findall(r'<meta property="([^"]+)" content="([^"]*)">', html))


@pytest.mark.parametrize("name", sorted(descriptions(HOME)))
def test_every_page_tells_its_title_and_what_it_is(address, name):
    tags = told(page(address, f"/{name}"))
    assert tags["og:title"].startswith(descriptions(HOME)[name][0])
    assert tags["og:description"].endswith(".")


def test_the_picture_is_there(address):
    link = told(page(address, "/"))["og:image"]
    assert link.startswith(address)
    with urllib.request.urlopen(link) as answer:
        assert answer.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("host", ['a"><script>alert(1)</script>', "a b", "a/b", "", "x" * 300])
def test_a_host_that_is_none_is_not_repeated(address, host):
    html = page(address, "/", Host=host)
    assert "og:image" not in told(html)
    assert "<script>alert(1)" not in html


def test_the_address_asked_is_not_in_the_tags(address):
    html = page(address, '/category?category="><script>alert(1)</script>'.replace(" ", "%20"))
    assert "alert(1)" not in html
    assert told(html)["og:title"] == "Category - RD4AD Explorer"


def test_the_page_is_whole_and_its_length_right(address):
    with urllib.request.urlopen(f"{address}/leaderboard") as answer:
        body = answer.read()
        assert int(answer.headers["Content-Length"]) == len(body)
    assert body.rstrip().endswith(b"</html>")
