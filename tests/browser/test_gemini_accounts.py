"""Gemini's accounts on the page of models, with what each has used of its quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.site import running
from tests.browser.test_chat import ask
from tests.clock import quota_day_lasts
from tests.upstreams.gemini import replies
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import OpenSite
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

MODEL = "gemini-3.8-flash"
QUOTAS = "[quotas.default]\nrequests_per_minute = 10\nrequests_per_day = 4\nprompt_tokens_per_minute = 250000\n"


async def test_quotas_are_bars_that_grow_with_each_request(
    open_site: OpenSite, tmp_path: Path, database_url: str, eventually: Eventually
) -> None:
    """With their numbers in words; the chat may choose the model, and says which tier served it."""
    await quota_day_lasts()
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(QUOTAS)
    async with (
        ScriptedUpstream(models=(MODEL,)) as gemini,
        running(tmp_path, database_url, eventually, CLAW_CATALOGUE=str(catalogue)) as site,
    ):
        gemini.fallback = sse(replies.text("From", " Gemini"))
        await site.fleet.worker("gemini", GEMINI_API_KEY="free-key", GEMINI_BASE_URL=gemini.url)
        watched = await open_site(site)
        page = watched.page

        async def is_offered() -> bool:
            await watched.open("/ui/chat")
            return await page.get_by_label("Model", exact=True).locator(f"option[value='{MODEL}']").count() == 1

        await watched.sign_in(path="/ui/models")
        await eventually(is_offered)
        await page.get_by_label("Model", exact=True).select_option(MODEL)
        await ask(page, "Who are you?")
        await expect(page.locator(".answer .about")).to_contain_text("gemini")
        await expect(page.locator(".answer")).to_contain_text("From Gemini")
        for used in (1, 2):
            await watched.open("/ui/models")
            account = page.locator(".account")
            bar = account.get_by_role("progressbar", name=f"Requests today: {used} of 4")
            await expect(bar).to_have_attribute("value", str(25.0 * used))
            await expect(account.get_by_role("progressbar", name="Requests this minute")).to_be_visible()
            await expect(account.get_by_role("progressbar", name="Prompt tokens this minute")).to_be_visible()
            _, secret = await site.key(f"asks Gemini {used}")
            await site.ask(secret, model=MODEL)
        await watched.check("models-quotas")
        assert watched.problems == []
        await page.context.close()
