"""The page of models and tiers: the order of tiers, Ollama's models, Gemini's accounts, the budget, prices."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from nacl.public import PrivateKey
from playwright.async_api import expect

from shared.redis import client as redis_client
from shared.redis.names import GEMINI_SEAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

CHAT_ORDER = "[data-order]:has(input[value=chat])"


@asynccontextmanager
async def sealing(site: Site) -> AsyncIterator[None]:
    """Leave Redis as a worker of the Gemini tier does: with a public key to seal credentials for."""
    redis = redis_client.connect(site.fleet.redis_url)
    try:
        await redis.set(GEMINI_SEAL, bytes(PrivateKey.generate().public_key).hex())
        yield
        await redis.delete(GEMINI_SEAL)
    finally:
        await redis_client.close(redis)


async def test_the_page_shows_what_is_served_and_what_could_be(signed_in: Watched) -> None:
    """Backends, the order, the budget; where there is nothing, what to do."""
    page = signed_in.page
    await signed_in.open("/ui/models")
    await expect(page.get_by_role("heading", name="Models & tiers", exact=True)).to_be_visible()
    await expect(page.get_by_text("scripted", exact=True)).to_be_visible()
    await expect(page.get_by_text("No Gemini account")).to_be_visible()
    await signed_in.check("models")


async def test_the_order_is_changed_by_keyboard_and_saved(signed_in: Watched, site: Site) -> None:
    """It is said where a tier stands now, and the management API has the order that was saved."""
    page = signed_in.page
    await signed_in.open("/ui/models")
    chat = page.locator(CHAT_ORDER)
    await expect(chat.get_by_role("button", name="Save the order")).to_be_disabled()
    await chat.get_by_role("button", name="Gemini up").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#announcer")).to_contain_text("Gemini is now 1 of 3")
    await expect(chat.get_by_role("button", name="Gemini down")).to_be_focused()
    await signed_in.check("models-moved")
    # Until the page that follows is whole: before its script is there, the buttons of a tier save at once.
    async with page.expect_navigation():
        await chat.get_by_role("button", name="Save the order").click()
    await expect(page.get_by_role("status").first).to_contain_text("The order is changed")
    assert await order(site) == ["free_gemini", "local", "api_key"]
    await chat.get_by_role("button", name="Gemini down").click()
    # The page before says that, too.
    async with page.expect_navigation():
        await chat.get_by_role("button", name="Save the order").click()
    await expect(page.get_by_role("status").first).to_contain_text("The order is changed")
    assert await order(site) == ["local", "free_gemini", "api_key"]


async def order(site: Site) -> list[str]:
    """Return the tiers of chat as the management API lists them, the first to try first."""
    rules: Any = await site.manage("GET", "/ai/routing/config")
    chat = [rule for rule in rules if rule["task_class"] == "chat"]
    return [rule["source_tier"] for rule in sorted(chat, key=lambda rule: rule["priority"])]


async def test_the_order_is_changed_by_dragging(open_page: OpenPage, size: Size) -> None:
    """By its handle; it is not saved before one says so."""
    watched = await open_page(size)
    await watched.sign_in(path="/ui/models")
    items = watched.page.locator(f"{CHAT_ORDER} .order > li")
    await items.last.scroll_into_view_if_needed()
    first, last = await items.first.locator(".handle").bounding_box(), await items.last.bounding_box()
    assert first is not None
    assert last is not None
    mouse = watched.page.mouse
    await mouse.move(first["x"] + 5, first["y"] + 5)
    await mouse.down()
    await mouse.move(first["x"] + 5, last["y"] + last["height"] / 2, steps=8)
    await mouse.up()
    await expect(items.last).to_have_attribute("data-tier", "Local")
    await watched.page.reload()
    await expect(items.first).to_have_attribute("data-tier", "Local")


async def test_the_order_is_changed_without_script(open_page: OpenPage, size: Size, site: Site) -> None:
    """Each button of a tier saves at once; an order without a tier is refused in words."""
    watched = await open_page(size, java_script_enabled=False)
    watched.expected_statuses.add(400)
    await watched.sign_in(path="/ui/models")
    chat = watched.page.locator(CHAT_ORDER)
    moves = {"Paid up": ["local", "api_key", "free_gemini"], "Paid down": ["local", "free_gemini", "api_key"]}
    for move, expected in moves.items():
        async with watched.page.expect_navigation():
            await chat.get_by_role("button", name=move).click()
        assert await order(site) == expected
    for box in await chat.get_by_role("checkbox").all():
        await box.uncheck()
    await chat.get_by_role("button", name="Save the order").click()
    await expect(watched.page.get_by_role("alert")).to_contain_text("The last tier of")


async def test_a_gemini_account_is_added_changed_switched_off_and_removed(signed_in: Watched, site: Site) -> None:
    """Its key is shown nowhere; each change is in the audit log, without it."""
    page = signed_in.page
    name = f"free-{(page.viewport_size or {'width': 0})['width']}@example.com"
    signed_in.expected_statuses.add(400)
    async with sealing(site):
        await signed_in.open("/ui/models/gemini/new")
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("API key").fill("AIza-very-secret")
        await page.get_by_label("Requests a day").fill("many")
        await page.get_by_role("button", name="Add it").click()
        await expect(page.get_by_label("Requests a day")).to_have_attribute("aria-invalid", "true")
        assert "AIza-very-secret" not in await page.content()
        await signed_in.check("gemini-wrong")
        await page.get_by_label("API key").fill("AIza-very-secret")
        await page.get_by_label("Requests a day").fill("250")
        await page.get_by_role("button", name="Add it").click()
        await expect(page.get_by_role("status").first).to_contain_text("was added")
        account = page.locator(".account", has_text=name)
        await expect(account).to_be_visible()
        await signed_in.check("models-gemini")
        await account.get_by_role("link", name="Change").click()
        await page.get_by_label("Google Cloud project").fill("my-project")
        await page.get_by_role("button", name="Save").click()
        await expect(account).to_contain_text("my-project")
        await account.get_by_role("button", name="Switch off").click()
        await expect(account.locator(".badge").first).to_have_text("off")
        await account.get_by_text("Remove …").click()
        await account.get_by_role("button", name="Remove it").click()
        await expect(page.get_by_role("status").first).to_contain_text("was removed")
    entries = (await site.manage("GET", "/claw/admin/audit-log"))["entries"]
    done = [entry["operation"] for entry in entries if entry["actor"] == "ui"][:4]
    assert done == ["remove_account", "switch_account", "change_account", "add_account"]
    assert "very-secret" not in str(entries)


async def test_prices_are_shown_and_found_by_name(signed_in: Watched) -> None:
    """As the catalogue has them."""
    page = signed_in.page
    await signed_in.open("/ui/models/prices")
    await expect(page.get_by_role("rowheader", name="gpt-5", exact=True)).to_be_visible()
    await signed_in.check("prices")
    await page.get_by_role("searchbox").fill("haiku")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("rowheader", name="claude-haiku-4-5")).to_be_visible()
    await expect(page.get_by_role("rowheader", name="gpt-5", exact=True)).to_have_count(0)
