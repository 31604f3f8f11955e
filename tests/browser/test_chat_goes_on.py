"""Answers go on when their page is loaded anew, opened elsewhere or closed; only Stop stops them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.test_chat import answers, ask, is_done, new_chat
from tests.upstreams.openai.replies import chunk, text
from tests.upstreams.scripted import Act, sse

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]


async def test_an_answer_goes_on_while_its_page_is_loaded_anew_and_opened_elsewhere(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """Both pages show what has come, what comes, and in the end what is stored; thoughts too."""
    watched = await open_page(size)
    page = await new_chat(watched)
    go_on, end = asyncio.Event(), asyncio.Event()
    thought = chunk({"role": "assistant", "reasoning_content": "Let me see."})
    first, second = chunk({"content": "The **first** half"}), chunk({"content": " and the second half"})
    site.upstream.add(sse(thought, first, go_on, second, end, text(".")))
    await ask(page, "Tell me two halves.")
    await expect(answers(page)).to_contain_text("The first half")
    await expect(page.locator(".sessions [aria-current]")).to_contain_text("Tell me two halves.")
    await page.reload()
    other = await page.context.new_page()
    await other.goto(page.url)
    for each in (page, other):
        await expect(each.get_by_role("heading", level=1)).to_have_text("Tell me two halves.")
        await expect(each.locator(".question")).to_have_count(1)
        await expect(answers(each).locator("strong", has_text="first")).to_be_visible()
        await expect(answers(each).locator("[data-state]")).to_have_text("local \u00b7 scripted")
        await expect(each.get_by_role("button", name="Stop")).to_be_visible()
        await expect(each.locator(".sessions [aria-current]")).to_contain_text("Tell me two halves.")
    await watched.check("chat-underway")
    go_on.set()
    for each in (page, other):
        await expect(answers(each)).to_contain_text("and the second half")
    end.set()
    for each in (page, other):
        await is_done(each)
        await expect(answers(each)).to_have_count(1)
        await each.get_by_text("Thoughts").click()
        await expect(each.get_by_text("Let me see.")).to_be_visible()


async def test_a_page_loaded_anew_before_the_first_word_waits_on_and_can_stop(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """The model is left by Stop alone; what was asked stays on the page, and can be asked again."""
    watched = await open_page(size)
    page = await new_chat(watched)
    site.upstream.add(sse(chunk({"role": "assistant", "reasoning_content": "Hm."}), Act.HANG))
    asked = len(site.upstream.requests)
    await ask(page, "Think for long.")
    await site.upstream.until(lambda: len(site.upstream.requests) == asked + 1)
    await page.wait_for_url("**/ui/chat?session=*")
    await page.reload()
    await expect(answers(page).locator("[data-state]")).to_have_text("Thinking")
    assert "session=" not in page.url
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#announcer")).to_contain_text("Stopped.")
    await expect(page.locator(".question")).to_contain_text("Think for long.")
    site.upstream.add(sse(text("Now.")))
    await ask(page, "And now?")
    await is_done(page)
    await expect(answers(page).last).to_contain_text("Now.")


async def test_the_thoughts_of_an_answer_stay_and_no_model_is_told_them(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """Folded, on a page that is loaded anew; the next request has the answer alone."""
    watched = await open_page(size)
    page = await new_chat(watched)
    site.upstream.add(sse(chunk({"role": "assistant", "reasoning_content": "6 times 7 <b>"}), text("42")))
    await ask(page, "What is 6 times 7?")
    await is_done(page)
    await page.reload()
    await expect(page.get_by_text("6 times 7 <b>")).to_be_hidden()
    await page.get_by_text("Thoughts").click()
    await expect(page.get_by_text("6 times 7 <b>")).to_be_visible()
    site.upstream.add(sse(text("Yes.")))
    await ask(page, "Sure?")
    await is_done(page)
    sent = site.upstream.requests[-1].body["messages"]
    assert sent[1] == {"role": "assistant", "content": "42"}


async def test_an_answer_goes_on_where_the_connection_broke_off(open_page: OpenPage, size: Size, site: Site) -> None:
    """Without anything being asked twice."""
    watched = await open_page(size)
    page = await new_chat(watched)
    go_on = asyncio.Event()
    site.upstream.add(sse(chunk({"role": "assistant", "content": "Half"}), go_on, text(" and half.")))
    await page.evaluate(_BREAKS_OFF)
    await ask(page, "Whole?")
    await expect(answers(page)).to_contain_text("Half")
    await page.evaluate("() => window.breakOff()")
    go_on.set()
    await is_done(page)
    await expect(answers(page)).to_contain_text("Half and half.")
    await expect(page.get_by_role("alert")).to_have_count(0)


_BREAKS_OFF = """() => {
  const fetched = window.fetch;
  window.fetch = async (address, options) => {
    const response = await fetched(address, options);
    if (!String(address).endsWith("/stream")) return response;
    const { readable, writable } = new TransformStream();
    const broken = new AbortController();
    window.breakOff = () => broken.abort();
    response.body.pipeTo(writable, { signal: broken.signal }).catch(() => {});
    return new Response(readable, { status: response.status, headers: response.headers });
  };
}"""
