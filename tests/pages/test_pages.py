"""The pages as the server makes them: true without a script, and safe whatever a source is called."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from castd.config import Group
from tests.support import bench, configured, head

if TYPE_CHECKING:
    from trio.testing import MockClock

EVIL = "\"'><script>alert(1)</script>&lt;$mounts${data}\u2028</title><!--"


class Elements(HTMLParser):
    """What is on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def meta(self, name: str) -> str | None:
        return next(each["content"] for each in self.all("meta") if each.get("property") == name)


def data_of(page: str) -> Any:
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[0])


async def test_the_station_without_a_script(autojump_clock: MockClock) -> None:
    async with bench(configured(mounts={"/hidden": {"hidden": True}})) as castd:
        await castd.encoder("/live", {"ice-name": "Radio"})
        await castd.encoder("/hidden")
        castd.mount("/live").set_title("A - B")
        page = (await castd.ask(head("GET", "/"))).text
    elements = Elements(page)
    assert [each["src"] for each in elements.all("audio") if "controls" in each] == ["/live"]
    assert {"/p/live", "/live.m3u", "/live.pls"} <= {each.get("href") for each in elements.all("a")}
    assert "A - B" in page
    assert "hidden" not in {each["mount"] for each in data_of(page)["mounts"]}
    assert "/hidden" not in page


async def test_a_mounts_page(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/jazz/high", {"ice-name": "Radio", "ice-description": "Words"}):
        castd.mount("/jazz/high").set_title("A - B", art="http://a.test/x.png")
        reply = await castd.ask(head("GET", "/p/jazz%2Fhigh"))
        assert reply.status == 200
        elements = Elements(reply.text)
        assert elements.meta("og:title") == "A - B"
        assert elements.meta("og:site_name") == "Radio"
        assert elements.meta("og:description") == "Words"
        assert elements.meta("og:url") == "http://radio.test/p/jazz%2Fhigh"
        image = elements.meta("og:image")
        assert image is not None
        assert image.startswith("http://radio.test/api/v1/mounts/jazz%2Fhigh/art?v=")
        (oembed,) = [each["href"] for each in elements.all("link") if each.get("type") == "application/json+oembed"]
        assert oembed is not None
        told = await castd.ask(head("GET", oembed.removeprefix("http://radio.test")))
        assert json.loads(told.body)["title"] == "Radio"


GROUPS = {"/radio": Group(mounts=("/high", "/low", "/away"))}


async def test_a_groups_page(autojump_clock: MockClock) -> None:
    async with bench(configured(groups=GROUPS)) as castd:
        off_air = await castd.ask(head("GET", "/p/radio"))
        assert (off_air.status, data_of(off_air.text)["mount"]) == (200, "/high")
        assert data_of(off_air.text)["group"] is None
        low = await castd.encoder("/low", {"ice-name": "Radio"})
        await low.push(400)
        castd.mount("/low").set_title("A - B")
        alone = await castd.ask(head("GET", "/p/radio"))
        assert data_of(alone.text)["mount"] == "/low"
        assert data_of(alone.text)["group"] is None, "one quality is no choice"
        await castd.encoder("/high", {"ice-name": "Radio"})

        reply = await castd.ask(head("GET", "/p/radio"))
        data, elements = data_of(reply.text), Elements(reply.text)
        assert (data["mount"], data["group"]["name"]) == ("/high", "/radio")
        assert {each["mount"] for each in data["group"]["mounts"]} == {"/high", "/low"}
        assert data["group"]["links"]["hls"] == "/radio/hls/index.m3u8"
        assert data["script"].startswith("/static/hls.min.js?v=")
        assert "hls.min.js" not in {each.get("src") for each in elements.all("script")}
        assert elements.meta("og:url") == "http://radio.test/p/radio"
        assert [each["src"] for each in elements.all("audio") if "controls" in each] == ["/radio"]
        assert "media-src 'self' blob:;" in reply.headers["content-security-policy"]
        assert "worker-src" not in reply.headers["content-security-policy"]

        member = data_of((await castd.ask(head("GET", "/p/low"))).text)
        assert (member["mount"], member["group"]["name"]) == ("/low", "/radio")
        other = await castd.ask(head("GET", "/p/none"))
        assert "blob:" not in other.headers["content-security-policy"]
        assert data_of(other.text)["script"] is None


async def test_a_group_is_one_on_the_station(autojump_clock: MockClock) -> None:
    async with bench(configured(groups=GROUPS)) as castd:
        for mount in ("/low", "/other", "/high"):
            await castd.encoder(mount, {"ice-name": f"Radio {mount}"})
        page = (await castd.ask(head("GET", "/"))).text
    elements = Elements(page)
    assert [each["src"] for each in elements.all("audio") if "controls" in each] == ["/high", "/other"]
    links = {each.get("href") for each in elements.all("a")}
    assert {"/p/radio", "/high.m3u", "/low.m3u", "/p/other"} <= links
    assert "/p/high" not in links
    assert data_of(page)["groups"] == {"/radio": ["/high", "/low", "/away"]}


@pytest.mark.parametrize("path", ["/", "/p/live", "/p/live?embed=1"])
async def test_whatever_a_source_says_is_text(path: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live", {"ice-name": "x", "ice-genre": "y"}):
        mount = castd.mount("/live")
        assert mount.description is not None
        object.__setattr__(mount.description, "name", EVIL)
        object.__setattr__(mount.description, "description", EVIL)
        object.__setattr__(mount.description, "url", "javascript:alert(1)")
        mount.set_title(EVIL, artist=EVIL, title=EVIL, album=EVIL, url="javascript:alert(2)")
        clean = await castd.ask(head("GET", path.replace("live", "none")))
        page = (await castd.ask(head("GET", path))).text
    assert "<script>alert" not in page
    assert len(Elements(page).all("script")) == len(Elements(clean.text).all("script"))
    assert not any(str(each.get("href", "")).startswith("javascript") for each in Elements(page).all("a"))
    told = data_of(page)
    shown = told["now"] if "now" in told else told["mounts"][0]
    assert (shown["name"], shown["title"]["text"]) == (EVIL, EVIL)


@pytest.mark.parametrize("name", ["none", "%3Cscript%3E", "a%22b", "caf%C3%A9", "%2e%2e"])
async def test_a_page_of_no_mount_waits_for_it(name: str, autojump_clock: MockClock) -> None:
    async with bench(configured(mounts={"/soon": {"name": "Soon"}})) as castd:
        reply = await castd.ask(head("GET", f"/p/{name}"))
        assert (reply.status, data_of(reply.text)["now"]) == (404, None)
        assert "<script>" not in reply.text
        soon = await castd.ask(head("GET", "/p/soon"))
        assert (soon.status, "Soon" in soon.text) == (200, True)


async def test_who_may_frame_what(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        expected = dict.fromkeys(("/", "/p/live", "/admin/", "/api/"), "'self'") | {"/p/live?embed=1": "*"}
        for path, framed_by in expected.items():
            policy = (await castd.ask(head("GET", path))).headers["content-security-policy"]
            assert policy.endswith(f"frame-ancestors {framed_by}"), path
            assert "script-src" not in policy, "default-src 'self' stands for it"
            assert "unsafe" not in policy


async def test_the_desk_says_nothing_before_one_signs_in(autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/secret-mount"):
        reply = await castd.ask(head("GET", "/admin/"))
        assert (reply.status, "secret-mount" in reply.text) == (200, False)
        moved = await castd.ask(head("GET", "/admin"))
        assert (moved.status, moved.headers["location"]) == (301, "/admin/")


@pytest.mark.parametrize("path", ["/", "/p/live", "/static/castd-player.js", "/static/style.css"])
async def test_packed_for_those_who_unpack(path: str, autojump_clock: MockClock) -> None:
    async with bench() as castd, await castd.encoder("/live"):
        plain = await castd.ask(head("GET", path))
        packed = await castd.ask(head("GET", path, {"Accept-Encoding": "br, gzip;q=0.5"}))
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["etag"] != plain.headers["etag"]
        for other in ("identity", "gzip;q=0", "br", ""):
            assert "content-encoding" not in (await castd.ask(head("GET", path, {"Accept-Encoding": other}))).headers
