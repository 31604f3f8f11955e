"""The chat as a newcomer meets it: the embedded model, nothing configured but a password."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from playwright.async_api import expect

from tests.browser.site import PASSWORD
from tests.browser.watched import LARGE, new_watched
from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser

    from tests.browser.site import Site

pytestmark = [
    pytest.mark.xdist_group("browser model"),
    pytest.mark.debian,
    pytest.mark.model,
    pytest.mark.hang_bound_s(1_000),
]

ANSWER_MS = 600_000
"""An answer of this model may fill its context, 2,048 tokens: half a minute, and minutes beside other work."""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A newcomer's gateway, with a password that the test knows."""
    made = Stack(tmp_path_factory.mktemp("chat"), CLAW_WEB_PASSWORD=PASSWORD)
    await asyncio.to_thread(made.__enter__)
    yield made
    await asyncio.to_thread(made.__exit__, None, None, None)


async def test_a_newcomer_chats_with_the_local_model(browser: Browser, stack: Stack, shots: Path) -> None:
    """What it says, and for how long, nobody knows: stopping it and going on are tested with a scripted model."""
    watched = await new_watched(browser, cast("Site", stack), shots, LARGE)
    await watched.sign_in(path="/ui/chat")
    page = watched.page
    await page.get_by_label("Your question").fill("Name three colours.")
    await page.keyboard.press("Enter")
    answer = page.locator(".answer")
    await expect(answer.get_by_role("button", name="Answer again")).to_be_visible(timeout=ANSWER_MS)
    assert (await answer.locator(".prose").inner_text()).strip()
    await expect(answer.locator(".about")).to_contain_text("local")
    await expect(answer.locator(".about")).to_contain_text("tokens")
    await watched.shot("chat-model")
    assert watched.problems == []
