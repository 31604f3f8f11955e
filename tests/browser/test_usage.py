"""The usage log in the browser: filtered, as a chart, a table and a file; and one request with its story."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.upstreams.scripted import Answer

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]


async def test_a_request_is_found_in_the_log_with_its_story(signed_in: Watched) -> None:
    """From the table to its page, and on to its key."""
    page, site = signed_in.page, signed_in.site
    width = signed_in.width
    key_id, secret = await site.key(f"asks at {width}", rpm_limit=1000)
    for _ in range(3):
        last = await site.ask(secret)
    await site.logged(last)
    await signed_in.open(f"/ui/usage?key={key_id}")
    await expect(page.get_by_role("row").filter(has_text=f"asks at {width}")).to_have_count(3)
    await signed_in.check("usage")
    await page.get_by_label("Request id").fill(last)
    await page.get_by_role("button", name="Find").click()
    await expect(page).to_have_url(f"{site.url}/ui/usage/{last}")
    story = page.get_by_role("region", name="Its story").get_by_role("listitem")
    await expect(story.first).to_contain_text("admitted")
    await expect(story.last).to_contain_text("ended")
    await signed_in.check("request")
    await page.get_by_role("link", name=f"asks at {width}").click()
    await expect(page.get_by_role("heading", name="The last 30 days")).to_be_visible()
    await signed_in.check("key-used")


async def test_a_request_that_failed_says_why(signed_in: Watched) -> None:
    """In the figures, and at the end of its story."""
    site = signed_in.site
    _, secret = await site.key(f"fails at {signed_in.width}")
    refusal = Answer(
        [b'{"error":{"message":"the prompt is odd","type":"invalid_request_error","code":"odd"}}'],
        status=400,
        headers={"content-type": "application/json"},
    )
    site.upstream.add(refusal)
    failed = await site.ask(secret, model="local")
    await site.logged(failed)
    await signed_in.open(f"/ui/usage/{failed}")
    story = signed_in.page.get_by_role("region", name="Its story").get_by_role("listitem")
    await expect(story.last).to_contain_text("400 odd")
    await signed_in.check("request-failed")


async def test_filters_narrow_the_table_and_the_file_alike(open_page: OpenPage, size: Size, site: Site) -> None:
    """By key and by outcome; the file has what the table has, and no formula."""
    name = f"=1+{size[0]}"
    key_id, secret = await site.key(name)
    asked = await site.ask(secret)
    await site.logged(asked)
    watched = await open_page(size)
    await watched.sign_in(path="/ui/usage")
    page = watched.page
    await page.get_by_label("Key", exact=True).select_option(name)
    # Until the page is another: the one before has the whole log, of which one row may be right by luck.
    async with page.expect_navigation():
        await page.get_by_role("button", name="Filter").click()
    await expect(page.locator("tbody tr").filter(has_text="scripted")).to_have_count(1)
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    text = (await (await download.value).path()).read_text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["request_id"].replace("-", ""), row["key_id"]) == (asked.removeprefix("req_"), key_id)
    assert row["key_name"] == f"'{name}"
    await page.get_by_label("Outcome").select_option("Failed")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    await watched.check("usage-nothing")


async def test_older_requests_are_on_further_pages(open_page: OpenPage, size: Size, site: Site) -> None:
    """Each once, the newest first."""
    name = f"asks often at {size[0]}"
    _, secret = await site.key(name, rpm_limit=1000)
    asked = [await site.ask(secret) for _ in range(55)]
    await site.logged(*asked)
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in(path="/ui/usage")
    await watched.page.get_by_label("Key", exact=True).select_option(name)
    shown = []
    for way in (watched.page.get_by_role("button", name="Filter"), watched.page.get_by_role("link", name="Older")):
        # Until the page is whole: all links that are there are looked at once.
        async with watched.page.expect_navigation():
            await way.click()
        links = await watched.page.locator("main tbody th a").all()
        shown += [(await link.get_attribute("href") or "").rpartition("/")[2] for link in links]
    assert shown == asked[::-1]


async def test_a_time_of_its_own_is_in_the_viewers_zone(open_page: OpenPage, size: Size, site: Site) -> None:
    """Its fields are there with the choice of it, and the page of what is found keeps them."""
    name = f"asks now at {size[0]}"
    _, secret = await site.key(name)
    await site.logged(await site.ask(secret))
    watched = await open_page(size)
    await watched.sign_in(path="/ui/usage")
    page = watched.page
    await expect(page.get_by_label("From", exact=True)).to_be_hidden()
    await page.get_by_label("Time", exact=True).select_option("From … to …")
    await page.get_by_label("From", exact=True).fill("2026-01-31T01:00")
    await page.get_by_label("To", exact=True).fill("2026-01-31T13:30")
    await watched.check("usage-own-time")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("No requests in this time")).to_be_visible()
    # Berlin is an hour before UTC in winter.
    assert "from=2026-01-31T00%3A00Z&to=2026-01-31T12%3A30Z" in page.url
    await expect(page.get_by_label("From", exact=True)).to_have_value("2026-01-31T01:00")
    now = await page.evaluate("new Date(Date.now() + 7200000 - new Date().getTimezoneOffset() * 60000).toISOString()")
    await page.get_by_label("From", exact=True).fill("2026-01-31T01:00")
    await page.get_by_label("To", exact=True).fill(now[:16])
    await page.get_by_role("button", name="Filter").click()
    await expect(page.locator("tbody tr").filter(has_text=name)).to_have_count(1)


@pytest.mark.parametrize(
    "query",
    [
        "span=own&from=x",
        "span=own&from=2026-02-01T00:00&to=2026-01-01T00:00",
        "span=2h",
        "tier=best",
        "outcome=maybe",
        "before=x",
        "key=x",
        "by=hand",
    ],
)
async def test_a_filter_that_means_nothing_is_refused_by_name(open_page: OpenPage, size: Size, query: str) -> None:
    """Rather than ignored: the page would show too much."""
    watched = await open_page(size)
    watched.expected_statuses.add(400)
    await watched.sign_in(path=f"/ui/usage?{query}")
    await expect(watched.page.get_by_role("alert")).to_contain_text(
        "time" if query.endswith("=x") and "own" in query else "From" if "own" in query else query.partition("=")[0]
    )
