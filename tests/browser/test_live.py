"""The live page: who waits and runs where, while it happens, and what the operator does about it."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.watched import HEAVIEST_BYTES, weight_of
from tests.fleet import PATIENCE_S
from tests.upstreams.openai.replies import text
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Locator, Page, Route

    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

SLOTS = 4
WAVE = 50
"""Requests that come at once."""


async def _until_in_queue(site: Site, requests: int) -> None:
    """Wait until as many requests wait or run."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            backends = (await site.manage("GET", "/claw/queue"))["backends"]
            if sum(each["waiting"] + each["running"] for each in backends) >= requests:
                return


@asynccontextmanager
async def queue_of(site: Site, requests: int, name: str) -> AsyncIterator[None]:
    """Yield a queue that has built up: the model server answers nobody before the end."""
    _, secret = await site.key(name, rpm_limit=1_000_000)
    await site.ask(secret)  # from now on the key is known there
    held = asyncio.Event()
    before, site.upstream.fallback = site.upstream.fallback, sse(held, text("At", " last"))
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {secret}"}, timeout=PATIENCE_S * 3, limits=httpx.Limits(max_connections=None)
    ) as client:
        url = f"{site.url}/v1/chat/completions"
        asked: list[asyncio.Task[httpx.Response]] = []
        try:
            while len(asked) < requests:
                more = min(WAVE, requests - len(asked))
                asked += [asyncio.create_task(client.post(url, json=body)) for _ in range(more)]
                await _until_in_queue(site, len(asked))
            yield
        finally:
            held.set()
            await asyncio.gather(*asked)
            site.upstream.fallback = before


def requests_of(page: Page, key_name: str) -> Locator:
    """Return the rows of the requests of a key: for a second a page shows those of the test before too."""
    return page.locator("[data-list=requests] > tr").filter(has_text=key_name)


async def test_the_page_is_empty_in_words_while_nothing_runs(signed_in: Watched) -> None:
    """And says what to expect; the backend and its worker are there."""
    page = signed_in.page
    await signed_in.open("/ui/live")
    await expect(page.get_by_role("heading", name="Live", exact=True)).to_be_visible()
    await expect(page.get_by_text("Nothing waits and nothing runs")).to_be_visible()
    await expect(page.locator("#stream")).to_have_text("live")
    await expect(page.locator("[data-list=backends] > li")).to_have_count(1)
    await expect(page.locator("[data-list=workers] > tr")).to_have_count(1)
    await signed_in.check("live-idle")


async def test_a_queue_builds_up_and_goes_down_before_ones_eyes(signed_in: Watched, site: Site) -> None:
    """Requests appear and leave by themselves, with their place and their key."""
    page = signed_in.page
    await signed_in.open("/ui/live")
    await expect(page.locator("#stream")).to_have_text("live")
    name = f"queue {signed_in.width}"
    async with queue_of(site, SLOTS + 6, name):
        rows = requests_of(page, name)
        await expect(rows).to_have_count(SLOTS + 6)
        await expect(rows.filter(has_text="running")).to_have_count(SLOTS)
        await expect(rows.filter(has_text="waiting")).to_have_count(6)
        await expect(rows.nth(SLOTS).locator("[data-position]")).to_have_text("1")
        await expect(rows.last.locator("[data-position]")).to_have_text("6")
        await expect(rows.last).to_contain_text(name)
        await expect(page.locator("#summary [data-text=waiting]")).to_have_text("6")
        await signed_in.check("live-queue")
    await expect(page.get_by_text("Nothing waits and nothing runs")).to_be_visible()


async def test_a_waiting_request_is_cancelled_after_a_question(signed_in: Watched, site: Site) -> None:
    """The page stays, says what was done, and the row is gone; it is in the audit log."""
    page = signed_in.page
    await signed_in.open("/ui/live")
    name = f"cancel {signed_in.width}"
    async with queue_of(site, SLOTS + 2, name):
        rows = requests_of(page, name)
        await expect(rows).to_have_count(SLOTS + 2)
        await expect(rows.filter(has_text="waiting")).to_have_count(2)
        row = page.locator(f'[data-key="{await rows.last.get_attribute("data-key")}"]')
        await row.get_by_text("Cancel …").click()
        await signed_in.shot("live-cancel")
        await row.get_by_role("button", name="Cancel it").click()
        await expect(page.locator("#notice")).to_contain_text("was cancelled")
        await expect(row).to_have_count(0)
        await expect(rows).to_have_count(SLOTS + 1)
    entries = (await site.manage("GET", "/claw/admin/audit-log"))["entries"]
    assert any(entry["operation"] == "cancel_request" and entry["actor"] == "ui" for entry in entries)


async def test_a_backend_is_paused_and_resumed(signed_in: Watched) -> None:
    """The page shows it at once, and the overview names it."""
    page = signed_in.page
    await signed_in.open("/ui/live")
    backend = page.locator("[data-list=backends] > li").first
    await backend.get_by_text("Pause …").click()
    await backend.get_by_role("button", name="Pause it").click()
    await expect(backend.locator(".badge")).to_have_text("paused")
    await signed_in.check("live-paused")
    await signed_in.open("/ui/overview")
    await expect(page.locator(".health")).to_contain_text("is paused")
    await signed_in.shot("overview-paused")
    await signed_in.open("/ui/live")
    await backend.get_by_role("button", name="Resume").click()
    await expect(backend.locator(".badge")).to_have_text("open")


async def test_a_menu_that_is_open_stays_open_while_the_page_moves(open_page: OpenPage, size: Size, site: Site) -> None:
    """Or nobody could answer its question. What comes is text, whatever its key is called."""
    watched = await open_page(size)
    await watched.sign_in(path="/ui/live")
    backend = watched.page.locator("[data-list=backends] > li").first
    await backend.get_by_text("Pause …").click()
    name = f"<img src=x onerror=alert(1)> {size[0]}"
    async with queue_of(site, SLOTS + 1, name):
        await expect(requests_of(watched.page, name)).to_have_count(SLOTS + 1)
        await expect(backend.locator("[data-text=waiting]")).to_have_text("1")
        await expect(backend.get_by_role("button", name="Pause it")).to_be_visible()


async def test_a_worker_is_drained_and_another_takes_its_place(
    open_page: OpenPage, size: Size, site: Site, eventually: Eventually
) -> None:
    """It leaves the list when it has ended."""
    watched = await open_page(size)
    await watched.sign_in(path="/ui/live")
    old = await watched.page.locator("[data-list=workers] > tr").first.get_attribute("data-key")
    await site.fleet.worker()
    rows = watched.page.locator("[data-list=workers] > tr")
    await expect(rows).to_have_count(2)
    row = watched.page.locator(f'[data-key="{old}"]')
    await row.get_by_text("Drain …").click()
    await row.get_by_role("button", name="Drain it").click()
    await expect(watched.page.locator("#notice")).to_contain_text("drains")
    await expect(row).to_have_count(0)

    async def serves() -> bool:
        return bool((await site.manage("GET", "/claw/queue/workers"))["workers"])

    await eventually(serves)


async def test_everything_on_the_live_page_is_done_without_script(open_page: OpenPage, size: Size, site: Site) -> None:
    """It shows the moment, and loads itself again."""
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in(path="/ui/live")
    name = f"no script at {size[0]}"
    async with queue_of(site, SLOTS + 1, name):
        await expect(requests_of(watched.page, name).filter(has_text="waiting")).to_have_count(1)
        page = (await _still(open_page, size)).page
        row = requests_of(page, name).filter(has_text="waiting")
        await row.get_by_text("Cancel …").click()
        await row.get_by_role("button", name="Cancel it").click()
        await expect(page.get_by_role("status").first).to_contain_text("was cancelled")


async def _still(open_page: OpenPage, size: Size) -> Watched:
    """Return the live page without script as it was when it was opened: loading itself again closes its menus."""
    watched = await open_page(size, java_script_enabled=False)
    loads = itertools.count()

    async def once(route: Route) -> None:
        # Of an answer without content a browser makes nothing: the page stays.
        await (route.fulfill(status=204) if next(loads) else route.continue_())

    await watched.page.route("**/ui/live", once)
    # What it asks for first leads to the form; what that leads back to is asked for within the same step.
    await watched.sign_in(path="/ui/live")
    return watched


async def test_the_stream_ends_when_its_session_does(open_page: OpenPage, size: Size) -> None:
    """A page that is still open somewhere shows nothing more: it asks to sign in."""
    here, there = await open_page(size), await open_page(size)
    await here.sign_in(path="/ui/live")
    await there.sign_in(path="/ui/live")
    await expect(there.page.locator("#stream")).to_have_text("live")
    await here.page.get_by_text("Session").click()
    await here.page.get_by_role("button", name="Sign everybody out").click()
    await expect(there.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_thousand_waiting_requests_leave_the_page_usable(open_page: OpenPage, size: Size, site: Site) -> None:
    """It shows the front of the queue, says how many more there are, is as light as ever, and answers."""
    watched = await open_page(size)
    await watched.sign_in(path="/ui/live")
    page = watched.page
    async with queue_of(site, 1000 + SLOTS, f"a thousand at {size[0]}"):
        await expect(page.locator("#summary [data-text=waiting]")).to_have_text("1000")
        await expect(page.locator("[data-list=requests] > tr")).to_have_count(100 + SLOTS)
        await expect(page.locator("#not-shown [data-text=not_shown]")).to_have_text("900")
        await watched.check("live-thousand")
        await page.reload()
        await expect(page.locator("[data-list=requests] > tr")).to_have_count(100 + SLOTS)
        assert await weight_of(page) < HEAVIEST_BYTES
        plain = await open_page(size, java_script_enabled=False)
        await plain.sign_in(path="/ui/live")
        await expect(plain.page.locator("[data-list=requests] > tr")).to_have_count(25)
        await expect(plain.page.locator("#not-shown [data-text=not_shown]")).to_have_text(str(1000 + SLOTS - 25))
        backend = page.locator("[data-list=backends] > li").first
        await backend.get_by_text("Pause …").click()
        await expect(backend.get_by_role("button", name="Pause it")).to_be_visible()
        # It lies over what is below it.
        await page.keyboard.press("Escape")
        await page.get_by_role("link", name="all of them").click()
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        assert await weight_of(page) < HEAVIEST_BYTES
        await watched.shot("live-requests")
        # The page before has as many rows.
        async with page.expect_navigation():
            await page.get_by_role("link", name="Next").click()
        await expect(rows).to_have_count(50)
        await page.get_by_label("State").select_option("Running")
        await page.get_by_role("button", name="Filter").click()
        await expect(rows).to_have_count(SLOTS)
        await rows.first.get_by_text("Cancel …").click()
        await rows.first.get_by_role("button", name="Cancel it").click()
        await expect(page.get_by_role("status").first).to_contain_text("was cancelled")
