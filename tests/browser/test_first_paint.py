"""What of each page is there before, and without, any script; and what a screen reader is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

from api.ui.navigation import PAGES

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

    from tests.browser.conftest import OpenPage, Size
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

NAMES = [page.name for page in PAGES]
WITH_NAME = {
    *("button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "slider", "progressbar", "meter"),
    *("navigation", "region", "image"),  # a table is in a region that has its name
}
"""Roles that mean nothing to who cannot see them, where they have no name."""


async def _told(page: Page) -> list[dict[str, Any]]:
    """Return what Chromium tells assistive technology of a page."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    return [node for node in tree["nodes"] if not node.get("ignored")]


def _is(node: dict[str, Any], role: str) -> bool:
    return bool(node["role"]["value"] == role)


@pytest.mark.parametrize("name", NAMES)
async def test_a_page_is_painted_before_its_scripts_come(open_page: OpenPage, size: Size, name: str) -> None:
    """They may take for ever: it is there with its heading, its content and its styles."""
    watched = await open_page(size)
    await watched.sign_in()
    page, go_on = watched.page, asyncio.Event()

    async def hold(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.route("**/*.js", hold)
    await page.goto(f"{watched.site.url}/ui/{name}", wait_until="commit")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.locator("main :is(a, button, summary):visible").first).to_be_visible()
    painted = "() => performance.getEntriesByName('first-contentful-paint').length === 1"
    await page.wait_for_function(painted)
    assert await page.evaluate("document.readyState") != "complete"
    go_on.set()
    await page.wait_for_load_state()


@pytest.mark.parametrize("name", NAMES)
async def test_a_page_without_script_breaks_no_rule_of_its_policy(open_page: OpenPage, size: Size, name: str) -> None:
    """And is no wider than the window."""
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in(path=f"/ui/{name}")
    await expect(watched.page.get_by_role("heading", level=1)).to_be_visible()
    await expect(watched.page.get_by_role("navigation", name="Pages", exact=True)).to_be_visible()
    await watched.check_fits()


@pytest.mark.parametrize("name", NAMES)
async def test_a_screen_reader_is_told_where_everything_is(signed_in: Watched, name: str) -> None:
    """One main part, one first heading, the navigation with the page it is at, a name for all that can be used."""
    page = signed_in.page
    await signed_in.open(f"/ui/{name}")
    await page.wait_for_load_state()
    nodes = await _told(page)
    found = Counter(node["role"]["value"] for node in nodes)
    assert (found["main"], found["banner"]) == (1, 1)
    assert sum(_is(node, "heading") and _level(node) == 1 for node in nodes) == 1
    assert any(_is(node, "navigation") and node["name"]["value"] == "Pages" for node in nodes)
    assert any(_is(node, "status") for node in nodes)
    nameless = [node for node in nodes if node["role"]["value"] in WITH_NAME and not node["name"]["value"].strip()]
    assert nameless == []
    await expect(page.locator(".nav [aria-current=page]")).to_have_count(1)


def _level(node: dict[str, Any]) -> int:
    return next((each["value"]["value"] for each in node.get("properties", ()) if each["name"] == "level"), 0)
