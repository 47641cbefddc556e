"""Operators, their commands, and pages that would give them in their name."""

from __future__ import annotations

from urllib.parse import quote

import trio

from tests.e2e.program import until
from tests.faults.case import case
from tests.faults.ingest_cases import harmless
from tests.faults.site import ADMIN, PATIENCE_SECONDS, SOURCE, Ear, Site


def blocks(ear: Ear) -> list[bytes]:
    """The ICY blocks a listener got that say anything."""
    interval, at, found = int(ear.fields["icy-metaint"]), 0, []
    heard = bytes(ear.heard)
    while (at := at + interval) < len(heard):
        length = heard[at] * 16
        found.append(heard[at + 1 : at + 1 + length].rstrip(b"\0"))
        at += 1 + length
    return [each for each in found if each]


@case("ADM-01")
async def a_link_that_kills(site: Site) -> None:
    async with site.live("/victim") as encoder, site.listen("/victim") as ear:
        for fields in (
            {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "null"},
        ):
            await site.ask("/admin/killsource?mount=/victim", fields, user=ADMIN)
        last = b"<%08d>" % (encoder.next + 40)
        await ear.until(lambda: last in ear.heard, "the source lives, whatever a page of another site asked for")


@case("ADM-03")
async def titles(site: Site) -> None:
    async with site.live("/titled"), site.listen("/titled", {"Icy-MetaData": "1"}) as ear:
        for user, title in ((ADMIN, "by the admin"), (SOURCE, "by the source")):
            said = await site.ask(f"/admin/metadata?mount=/titled&mode=updinfo&song={quote(title)}", user=user)
            assert said.status == 200, f"answered {said.status}"
            await shown(site, "/titled", title)
        await ear.until(lambda: any(b"by the source" in each for each in blocks(ear)), "the title in the stream")


async def shown(site: Site, mount: str, title: str) -> None:
    """Wait until the status has a title."""

    async def probe() -> bool:
        return title in str(await site.facts(mount))

    await until(probe, seconds=PATIENCE_SECONDS, what=f"the title {title}")


@case("ADM-05")
async def titles_that_run(site: Site) -> None:
    async with site.live("/script"):
        for title in ("<script>alert(1)</script>", "]]><x>", "<img src=x onerror=alert(1)>", "a\x01b\x0bc", '"><b>'):
            query = f"mount=/script&mode=updinfo&song={quote(title)}"
            said = await site.ask(f"/admin/metadata?{query}", user=SOURCE)
            assert said.status == 200, f"answered {said.status}"
            await harmless(site, "/script")
            await site.status()


@case("ADM-07")
async def a_title_that_forges_a_field(site: Site) -> None:
    async with site.live("/forged"), site.listen("/forged", {"Icy-MetaData": "1"}) as ear:
        title = quote("mark';StreamUrl='http://evil.test/")
        said = await site.ask(f"/admin/metadata?mount=/forged&mode=updinfo&song={title}", user=SOURCE)
        assert said.status == 200, f"answered {said.status}"
        await ear.until(lambda: any(b"mark" in each for each in blocks(ear)), "the title in the stream")
        for block in blocks(ear):
            assert b"';StreamUrl='http://evil" not in block, f"a field is forged: {block!r}"


@case("ADM-13")
async def a_source_is_killed(site: Site) -> None:
    async with site.live("/killed") as encoder:
        answers = [
            (await site.ask("/admin/killsource?mount=/killed", user=ADMIN, method=method)).status
            for method in ("GET", "POST")
        ]
        assert 200 in answers, f"answered {answers}"
        with trio.fail_after(PATIENCE_SECONDS):
            await encoder.rest()
