"""A newcomer's first minutes in the browser: the embedded model, nothing configured, no document read."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.test_chat import ask
from tests.browser.test_keys import SECRET
from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.browser.conftest import OpenSite, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [
    pytest.mark.xdist_group("browser model"),
    pytest.mark.debian,
    pytest.mark.model,
    pytest.mark.npm,
    pytest.mark.hang_bound_s(1_000),
]

ANSWER_MS = 600_000
"""An answer of this model may fill its context, 2,048 tokens: half a minute, and minutes beside other work."""
CROWD = 8
"""More than the embedded model has slots."""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield what `make up` starts for who has configured nothing."""
    made = Stack(tmp_path_factory.mktemp("newcomer"))
    await asyncio.to_thread(made.__enter__)
    yield made
    await asyncio.to_thread(made.__exit__, None, None, None)


def _printed(stack: Stack, name: str) -> str:
    (found,) = re.findall(rf"^{name}: (\S+)$", stack.shown, re.MULTILINE)
    return str(found)


@asynccontextmanager
async def _crowd(url: str, secret: str) -> AsyncIterator[None]:
    """Programs that ask all at once, and leave at the end."""
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Write a long story."}]}
    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {secret}"}, timeout=ANSWER_MS / 1000, limits=httpx.Limits()
    ) as client:
        asked = [asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body)) for _ in range(CROWD)]
        try:
            yield
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


async def _chats(watched: Watched) -> None:
    page = watched.page
    await page.get_by_role("link", name="Chat", exact=True).click()
    await ask(page, "Name three colours.")
    answer = page.locator(".answer")
    await expect(answer.get_by_role("button", name="Answer again")).to_be_visible(timeout=ANSWER_MS)
    assert (await answer.locator(".prose").inner_text()).strip()
    await expect(answer.locator(".about")).to_contain_text("local")
    await expect(answer.locator(".about")).to_contain_text("tokens")
    await watched.check("chat-model")


async def _makes_a_key(watched: Watched, name: str) -> str:
    """Make a key; return the command that its page shows to paste."""
    page = watched.page
    await page.get_by_role("link", name="Keys", exact=True).click()
    await page.get_by_role("link", name="New key").click()
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Create key").click()
    return await page.get_by_label("curl command", exact=True).inner_text()


async def test_a_newcomer_comes_from_the_printed_address_to_a_queue_in_live(
    open_site: OpenSite, stack: Stack, size: Size
) -> None:
    """Signs in, chats, makes a key, pastes its command, sees the request in Usage, and a queue build up."""
    address = _printed(stack, "Web UI")
    url, name = address.removesuffix("/ui"), f"my first program at {size[0]}"
    watched = await open_site(cast("Site", SimpleNamespace(url=url)))
    page = watched.page
    await page.goto(address)
    await page.get_by_label("Password, or an admin key").fill(_printed(stack, "Password"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    await watched.check("newcomer-overview")
    await _chats(watched)
    command = await _makes_a_key(watched, name)
    done = await asyncio.to_thread(subprocess.run, ["bash", "-c", command], capture_output=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["role"] == "assistant"

    await page.get_by_role("link", name="Usage", exact=True).click()
    await page.get_by_role("row").filter(has_text=name).get_by_role("link").click()
    await expect(page.get_by_role("region", name="Its story")).to_contain_text("ended")
    await page.get_by_role("link", name="Live", exact=True).click()
    await expect(page.locator("#stream")).to_have_text("live")
    rows = page.locator("[data-list=requests] > tr").filter(has_text=name)
    async with _crowd(url, SECRET.findall(command)[0]):
        await expect(rows).to_have_count(CROWD)
        await expect(rows.filter(has_text="running").first).to_be_visible()
        await expect(rows.filter(has_text="waiting").first).to_be_visible()
        await watched.check("newcomer-live")
    await expect(page.get_by_text("Nothing waits and nothing runs")).to_be_visible()
    assert watched.problems == []
    await page.context.close()
