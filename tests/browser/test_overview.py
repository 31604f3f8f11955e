"""The overview: is it well, what was served, what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.sample_usage import with_usage
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]


@pytest.fixture(scope="module")
async def used(site: Site) -> None:
    """Fill a usage log with a day's requests in it."""
    await with_usage(site.fleet.database_url)


@pytest.mark.usefixtures("used")
async def test_the_overview_shows_what_was_served_and_what_it_cost(signed_in: Watched, eventually: Eventually) -> None:
    """Health, figures, charts, failures; each chart has a table that says the same."""
    page = signed_in.page

    async def is_up_to_date() -> bool:
        await signed_in.open("/ui/overview")
        return await page.get_by_role("row", name="503 upstream_unavailable").count() > 0

    # Another test may have looked before: what was read then is shown for a minute.
    await eventually(is_up_to_date, bound_s=60 + PATIENCE_S)
    await expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    await expect(page.locator(".health")).to_be_visible()
    await expect(page.get_by_role("img", name="Requests")).to_be_visible()
    await signed_in.check("overview")
    await page.get_by_text("How “saved” is reckoned").click()
    await page.get_by_text("Show as a table").first.click()
    await expect(page.get_by_role("table", name="Requests")).to_be_visible()
    await signed_in.check("overview-opened")


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("span", ["1 hour", "7 days", "30 days"])
async def test_the_span_can_be_chosen(signed_in: Watched, span: str) -> None:
    """And the page says which it is."""
    await signed_in.open("/ui/overview")
    await signed_in.page.get_by_role("link", name=span).click()
    await expect(signed_in.page.get_by_role("link", name=span)).to_have_attribute("aria-current", "true")
    await expect(signed_in.page.locator("figure.chart").first).to_be_visible()
    await signed_in.check(f"overview-{span.replace(' ', '-')}")


@pytest.mark.usefixtures("used")
async def test_the_values_of_a_chart_are_read_by_keyboard(open_page: OpenPage, size: Size) -> None:
    """With the arrow keys, in the words of its table; Escape leaves."""
    watched = await open_page(size)
    await watched.sign_in(path="/ui/overview")
    chart = watched.page.get_by_role("group", name="Requests: the arrow keys go through its values")
    await chart.focus()
    await watched.page.keyboard.press("End")
    tip = watched.page.locator(".chart-tip").first
    await expect(tip).to_be_visible()
    await expect(tip).to_contain_text("Local")
    await expect(chart.get_by_role("status")).to_contain_text("Local")
    first = await tip.inner_text()
    await watched.page.keyboard.press("ArrowLeft")
    await expect(tip).not_to_have_text(first)
    await watched.shot("overview-tip")
    await watched.page.keyboard.press("Escape")
    await expect(tip).to_be_hidden()


@pytest.mark.usefixtures("used")
async def test_the_overview_is_whole_without_script(open_page: OpenPage, size: Size) -> None:
    """Charts are drawn on the server."""
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in(path="/ui/overview")
    await expect(watched.page.locator("path.chart-bar").first).to_be_attached()
    await watched.page.get_by_text("Show as a table").first.click()
    await expect(watched.page.get_by_role("table", name="Requests")).to_be_visible()
