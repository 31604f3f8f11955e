"""The web UI without a mouse: what one does there is reached by Tab, is seen to be, and is done by Enter."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.site import PASSWORD
from tests.browser.test_chat import answers, is_done
from tests.browser.test_live import SLOTS, queue_of, requests_of
from tests.upstreams.openai.replies import text
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

FARTHEST = 250
"""Of a page with a menu, a table and forms, in presses of Tab."""
_IS_SEEN = """() => {
    const shows = (element) => {
        const style = getComputedStyle(element);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    };
    const box = document.activeElement.getBoundingClientRect();
    const isWithin = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    const focused = document.activeElement;
    const around = [focused, focused.parentElement];
    return isWithin && around.some((element) => element && shows(element));
}"""


async def go_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus, which is seen on it."""
    for _ in range(FARTHEST):
        if await wanted.evaluate("element => element === document.activeElement"):
            assert await page.evaluate(_IS_SEEN), f"the focus is not seen on {wanted}"
            return
        await page.keyboard.press("Tab")
    pytest.fail(f"Tab does not lead to {wanted}")


async def press(page: Page, wanted: Locator) -> None:
    """Go to a link or button, and press Enter."""
    await go_to(page, wanted)
    await page.keyboard.press("Enter")


async def _signed_in(watched: Watched, page_name: str) -> Page:
    """Sign in, and go to a page by the navigation."""
    await watched.open("/ui")
    page = watched.page
    await expect(page.get_by_label("Password, or an admin key")).to_be_focused()
    await page.keyboard.type(PASSWORD)
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await go_to(page, page.get_by_role("link", name=page_name, exact=True))
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    return page


async def test_a_key_is_made_copied_and_revoked_by_keyboard(open_page: OpenPage, size: Size) -> None:
    """From the sign-in to the question whether it is meant, which Escape takes back."""
    watched = await open_page(size, permissions=["clipboard-read", "clipboard-write"])
    page = await _signed_in(watched, "Keys")
    await press(page, page.get_by_role("link", name="New key").first)
    await go_to(page, page.get_by_label("Name"))
    await page.keyboard.type(f"by keyboard at {size[0]}")
    await go_to(page, page.get_by_label("Local"))
    await page.keyboard.press("Space")
    await press(page, page.get_by_role("button", name="Create key"))
    secret = await page.get_by_role("textbox", name="The key's secret").inner_text()
    await press(page, page.get_by_role("button", name="Copy: The key's secret"))
    await expect(page.locator("#announcer")).to_have_text("Copied.")
    assert await page.evaluate("navigator.clipboard.readText()") == secret
    # Until its script is there, which is what hears Escape.
    async with page.expect_navigation():
        await press(page, page.get_by_role("link", name="To the key"))
    question = page.locator("summary", has_text="Revoke …")
    await expect(question).to_be_visible()
    await press(page, question)
    await expect(page.get_by_role("button", name="Revoke the key")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Revoke the key")).to_be_hidden()
    await expect(question).to_be_focused()
    await page.keyboard.press("Enter")
    await press(page, page.get_by_role("button", name="Revoke the key"))
    await expect(page.get_by_role("status").first).to_contain_text("is revoked")


async def test_one_chats_by_keyboard(open_page: OpenPage, size: Size, site: Site) -> None:
    """Asks, has it answered again, edits the question into a new conversation, and renames that."""
    watched = await open_page(size)
    page = await _signed_in(watched, "Chat")
    site.upstream.add(sse(text("One.")))
    await expect(page.get_by_label("Your question")).to_be_focused()
    await page.keyboard.type("First?")
    await page.keyboard.press("Enter")
    await expect(answers(page).last).to_contain_text("One.")
    await is_done(page)
    site.upstream.add(sse(text("Again.")))
    await press(page, page.get_by_role("button", name="Answer again"))
    await expect(answers(page).last).to_contain_text("Again.")
    await is_done(page)
    before = page.url
    await press(page, page.locator("summary[aria-label='Edit the question']"))
    await expect(page.get_by_label("The question, edited")).to_be_focused()
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("Edited?")
    site.upstream.add(sse(text("Another.")))
    await press(page, page.get_by_role("button", name="Ask in a new conversation"))
    await expect(answers(page).last).to_contain_text("Another.")
    await is_done(page)
    assert page.url != before
    await press(page, page.get_by_label("This conversation"))
    await go_to(page, page.get_by_label("Title"))
    await page.keyboard.type(f"Named at {size[0]}")
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Named at {size[0]}")


async def test_a_request_is_cancelled_by_keyboard_while_the_page_moves(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """What comes and goes takes the focus from nobody."""
    watched = await open_page(size)
    page = await _signed_in(watched, "Live")
    await expect(page.locator("#stream")).to_have_text("live")
    name = f"moves at {size[0]}"
    _, secret = await site.key(f"{name}, later")
    # The group is the outer one: what it waits for is answered once the queue is let go.
    async with asyncio.TaskGroup() as later, queue_of(site, SLOTS + 2, name):
        rows = requests_of(page, name)
        await expect(rows).to_have_count(SLOTS + 2)
        row = page.locator(f'[data-key="{await rows.last.get_attribute("data-key")}"]')
        await press(page, row.locator("summary"))
        sure = row.get_by_role("button", name="Cancel it")
        await go_to(page, sure)
        later.create_task(site.ask(secret))
        await expect(rows).to_have_count(SLOTS + 3)
        await expect(sure).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#notice")).to_contain_text("was cancelled")
        await expect(row).to_have_count(0)
