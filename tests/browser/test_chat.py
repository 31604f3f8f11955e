"""The chat in a real browser, with a scripted model."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.async_api import expect

from tests.browser.watched import SIZES
from tests.upstreams.openai.replies import chunk, text
from tests.upstreams.scripted import Act, json_answer, sse

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

ANSWER: Final = """## How it works

A request waits in a **queue** and is served by the first tier that has room:

1. your own hardware,
2. a free account,
3. a paid API, within its budget.

| tier | cost | when |
|:--|--:|:--|
| local | $0 | first |
| gemini | $0 | while quota is left |
| paid | by token | within the budget |

```python
def route(tiers: list[str]) -> str | None:
    \"\"\"Return the first tier with room.\"\"\"
    return next((tier for tier in tiers if has_room(tier)), None)  # else it waits
```

The wait is about $t = \\frac{n \\cdot s}{k}$, so

$$\\sum_{i=1}^{n} s_i \\le k \\cdot T$$

> Nothing is retried once its first word was delivered.
"""
EVIL: Final = "<script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:alert(1)) <b>bold?</b>"


async def ask(page: Page, question: str) -> None:
    """Type a question and press Enter, once the page's script, which sends it, is there."""
    await page.get_by_label("Your question").fill(question)
    await page.wait_for_load_state()
    await page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    """Return all answers on the page."""
    return page.locator(".answer")


async def is_done(page: Page) -> None:
    """Wait until the answer has come and is stored."""
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(answers(page).last.get_by_role("button", name="Answer again")).to_be_visible()


async def new_chat(watched: Watched) -> Page:
    """Return an empty conversation, for who has signed in."""
    await watched.sign_in(path="/ui/chat")
    await expect(watched.page.get_by_text("What would you like to know?")).to_be_visible()
    return watched.page


async def test_a_question_is_answered_as_it_comes_and_set_when_it_is_over(watched: Watched, site: Site) -> None:
    """With who gave the answer, its tokens and its cost; the page is the same when it is loaded anew."""
    page = await new_chat(watched)
    await watched.check("chat-new")
    go_on = asyncio.Event()
    halves = ANSWER[:150], ANSWER[150:]
    site.upstream.add(sse(chunk({"role": "assistant", "content": halves[0]}), go_on, text(halves[1])))
    await ask(page, "How does the gateway choose who answers?")
    await expect(answers(page).locator("strong", has_text="queue")).to_be_visible()
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    await watched.shot("chat-streaming")
    go_on.set()
    await is_done(page)
    answer = answers(page).last
    await expect(answer.get_by_role("heading", name="How it works")).to_be_visible()
    await expect(answer.locator("table td", has_text="by token")).to_have_class("right")
    await expect(answer.locator("math")).to_have_count(2)
    await expect(answer.locator(".code-block .k").first).to_be_visible()
    await expect(answer.locator(".about")).to_contain_text("local")
    await expect(answer.locator(".about")).to_contain_text("scripted")
    await expect(answer.locator(".about")).to_contain_text("tokens")
    await expect(answer.locator(".about")).to_contain_text("$0")
    await expect(page.locator("#announcer")).to_contain_text("Answer:")
    await expect(page.get_by_label("Your question")).to_be_focused()
    await watched.check("chat-answered")
    shown = await answer.locator(".prose").inner_html()
    await page.reload()
    assert shown.count("<math") == (await answers(page).last.locator(".prose").inner_html()).count("<math") == 2
    await expect(page.get_by_role("heading", level=1)).to_contain_text("How does the gateway choose")


async def test_code_is_copied(open_page: OpenPage, size: Size, site: Site) -> None:
    """Without its colours."""
    watched = await open_page(size, permissions=["clipboard-read", "clipboard-write"])
    page = await new_chat(watched)
    site.upstream.add(sse(text("```python\nx = 1 < 2\n```")))
    await ask(page, "Code, please.")
    await is_done(page)
    await page.get_by_role("button", name="Copy the code").click()
    await expect(page.locator("#announcer")).to_contain_text("Copied.")
    assert await page.evaluate("navigator.clipboard.readText()") == "x = 1 < 2\n"


async def test_escape_stops_an_answer_and_the_model(open_page: OpenPage, size: Size, site: Site) -> None:
    """What came of it stays, and can be asked for again."""
    watched = await open_page(size)
    page = await new_chat(watched)
    site.upstream.add(sse(chunk({"role": "assistant", "content": "Once upon a time"}), Act.HANG))
    await ask(page, "Tell me a long story.")
    await expect(answers(page)).to_contain_text("Once upon a time")
    await page.keyboard.press("Escape")
    await is_done(page)
    await expect(answers(page).locator(".about")).to_contain_text("Stopped")
    site.upstream.add(sse(text("The end.")))
    await page.get_by_role("button", name="Answer again").click()
    await expect(answers(page)).to_contain_text("The end.")
    await is_done(page)
    await expect(answers(page)).to_have_count(1)
    await expect(page.locator(".question")).to_have_count(1)
    await page.reload()
    await expect(answers(page)).to_have_count(1)
    await expect(answers(page)).to_contain_text("The end.")
    await expect(page.locator(".question")).to_have_count(1)


async def test_a_later_answer_is_given_again_in_its_place(open_page: OpenPage, size: Size, site: Site) -> None:
    """And the model is told what was said before, once."""
    watched = await open_page(size)
    page = await new_chat(watched)
    for question, answer in (("First?", "One."), ("Second?", "Two.")):
        site.upstream.add(sse(text(answer)))
        await ask(page, question)
        await expect(answers(page).last).to_contain_text(answer)
        await is_done(page)
    site.upstream.add(sse(text("Two, again.")))
    await page.get_by_role("button", name="Answer again").click()
    await expect(answers(page).last).to_contain_text("Two, again.")
    await is_done(page)
    sent = site.upstream.requests[-1].body["messages"]
    assert [message["content"] for message in sent] == ["First?", "One.", "Second?"]
    await page.reload()
    assert [await each.inner_text() for each in await page.locator(".prose").all()] == ["One.", "Two, again."]


@pytest.mark.parametrize("at", [0, 1])
async def test_an_edited_question_begins_another_conversation(
    open_page: OpenPage, size: Size, site: Site, at: int
) -> None:
    """With what was said before it; the first one stays as it was."""
    watched = await open_page(size)
    page = await new_chat(watched)
    for question, answer in (("First?", "One."), ("Second?", "Two.")):
        site.upstream.add(sse(text(answer)))
        await ask(page, question)
        await expect(answers(page).last).to_contain_text(answer)
        await is_done(page)
    before = page.url
    site.upstream.add(sse(text("Another.")))
    asked = page.locator(".question").nth(at)
    await asked.locator("summary[aria-label='Edit the question']").click()
    await asked.get_by_label("The question, edited").fill("Edited?")
    await watched.check(f"chat-edit-{at}")
    await asked.get_by_role("button", name="Ask in a new conversation").click()
    await expect(answers(page).last).to_contain_text("Another.")
    await is_done(page)
    assert page.url != before
    sent = site.upstream.requests[-1].body["messages"]
    assert [message["content"] for message in sent] == [*["First?", "One."][: 2 * at], "Edited?"]
    await page.goto(before)
    await expect(answers(page)).to_have_count(2)


async def test_thoughts_are_folded(watched: Watched, site: Site) -> None:
    """They can be read while the model thinks and afterwards."""
    page = await new_chat(watched)
    go_on = asyncio.Event()
    thought = chunk({"role": "assistant", "reasoning_content": "Let me see: 6 times 7."})
    site.upstream.add(sse(thought, go_on, text("42")))
    await ask(page, "What is 6 times 7?")
    await expect(page.get_by_text("Let me see")).to_be_visible()
    await expect(answers(page).locator("[data-state]")).to_have_text("Thinking")
    await watched.shot("chat-thinking")
    go_on.set()
    await is_done(page)
    await expect(page.get_by_text("Let me see")).to_be_hidden()
    await page.get_by_text("Thoughts").click()
    await expect(page.get_by_text("Let me see")).to_be_visible()


async def test_who_waits_sees_the_place_in_the_queue(open_page: OpenPage, size: Size, site: Site) -> None:
    """Until its turn comes."""
    watched = await open_page(size)
    page = await new_chat(watched)
    go_on = asyncio.Event()
    _, secret = await site.key(f"fills the slots at {size[0]}")
    site.upstream.add(*(sse(chunk({"role": "assistant", "content": "busy"}), go_on, text(".")) for _ in range(4)))
    asked = len(site.upstream.requests)
    others = [asyncio.create_task(site.ask(secret, stream=True)) for _ in range(4)]
    try:
        await site.upstream.until(lambda: len(site.upstream.requests) == asked + 4)
        await ask(page, "And I?")
        await expect(answers(page).locator("[data-state]")).to_contain_text("Next in the queue")
        await watched.shot("chat-queued")
    finally:
        go_on.set()
        await asyncio.gather(*others)
    await is_done(page)


async def test_what_fails_says_so_and_can_be_tried_again(watched: Watched, site: Site) -> None:
    """With the same question."""
    # The head's, where the error came before it; a browser puts that into its console.
    watched.expected_statuses.add(400)
    page = await new_chat(watched)
    site.upstream.add(json_answer({"error": {"message": "this model is broken", "type": "invalid"}}, status=400))
    await ask(page, "Does it work?")
    await expect(page.get_by_role("alert")).to_contain_text("There is no answer.")
    await expect(page.get_by_role("alert")).to_contain_text("this model is broken")
    await watched.check("chat-failed")
    site.upstream.add(sse(text("Now it does.")))
    await page.get_by_role("button", name="Try again").click()
    await expect(answers(page)).to_contain_text("Now it does.")
    await is_done(page)
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(page.locator(".question")).to_have_count(1)


async def test_an_answer_that_breaks_off_is_kept_and_can_be_asked_for_again(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """Both what came, and what went wrong, are shown."""
    watched = await open_page(size)
    page = await new_chat(watched)
    site.upstream.add(sse(chunk({"role": "assistant", "content": "Half of"}), Act.ABORT))
    await ask(page, "Say something.")
    await expect(page.get_by_role("alert")).to_be_visible()
    await expect(answers(page).locator(".about")).to_contain_text("Broken off")
    site.upstream.add(sse(text("All of it.")))
    await page.get_by_role("button", name="Try again").click()
    await expect(answers(page)).to_contain_text("All of it.")
    await is_done(page)
    await expect(answers(page)).to_have_count(1)


async def test_choices_are_what_the_model_is_asked_with_and_stay(open_page: OpenPage, size: Size, site: Site) -> None:
    """A tier, the expert: for the next question too, and after the page was loaded anew."""
    watched = await open_page(size)
    page = await new_chat(watched)
    await page.get_by_label("Model", exact=True).select_option("scripted")
    await page.locator(".options > summary").click()
    await page.get_by_label("nSelf expert").check()
    await page.get_by_label("Only this tier").select_option("local")
    await watched.check("chat-options")
    await page.keyboard.press("Escape")
    site.upstream.add(sse(text("As an expert.")))
    await ask(page, "What is nSelf?")
    await is_done(page)
    assert [message["role"] for message in site.upstream.requests[-1].body["messages"]] == ["system", "user"]
    await page.goto(f"{site.url}/ui/chat")
    await expect(page.get_by_label("Model", exact=True)).to_have_value("scripted")
    await expect(page.locator("[data-options-label]")).to_have_text("local, expert")


async def test_an_image_goes_with_a_question(watched: Watched, site: Site) -> None:
    """It is shown before, with the question, and when the page is loaded anew."""
    page = await new_chat(watched)
    picture = await page.evaluate(
        """() => { const canvas = document.createElement("canvas"); canvas.width = 400; canvas.height = 300;
        const context = canvas.getContext("2d"); context.fillStyle = "#5046c8"; context.fillRect(0, 0, 400, 300);
        return canvas.toDataURL("image/png").split(",")[1]; }"""
    )
    await page.locator('input[type="file"]').set_input_files(
        {"name": "picture.png", "mimeType": "image/png", "buffer": base64.b64decode(picture)}
    )
    await expect(page.get_by_alt_text("Image 1")).to_be_visible()
    await watched.check("chat-image")
    await ask(page, "What is this?")
    await expect(page.locator(".question img")).to_be_visible()
    await is_done(page)
    await page.reload()
    await expect(page.locator(".question img")).to_be_visible()
    assert (
        site.upstream.requests[-1].body["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/jpeg")
    )


async def open_list(page: Page) -> None:
    """Show the list of conversations, where there is no room for it beside them."""
    link = page.get_by_role("link", name="Conversations", exact=True)
    if await link.is_visible():
        await link.click()


async def close_list(page: Page) -> None:
    """Show the conversation again."""
    link = page.get_by_role("link", name="Close the list of conversations")
    if await link.is_visible():
        await link.click()


async def test_conversations_are_found_renamed_archived_exported_and_deleted(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """From the list and the menu."""
    watched = await open_page(size)
    page = await new_chat(watched)
    site.upstream.add(sse(text("Penguins cannot fly, zanzibar.")))
    await ask(page, "Tell me about penguins.")
    await is_done(page)
    await open_list(page)
    await page.get_by_label("Search the conversations").fill("zanzibar")
    await expect(page.locator(".sessions .excerpt").first).to_contain_text("zanzibar")
    await page.get_by_label("Search the conversations").fill("")
    await expect(page.locator(".sessions [aria-current]")).to_contain_text("penguins")
    await close_list(page)
    await page.get_by_label("This conversation").click()
    await page.get_by_label("Title").fill("All about birds")
    await page.get_by_role("button", name="Rename").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("All about birds")
    await expect(page.locator(".sessions [aria-current]")).to_contain_text("All about birds")
    await page.get_by_label("This conversation").click()
    await watched.check("chat-menu")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export as Markdown").click()
    assert "Penguins cannot fly" in (await (await download.value).path()).read_text()
    # Until the page that follows is whole: whether there is a list to open is looked at once.
    async with page.expect_navigation():
        await page.get_by_role("button", name="Archive").click()
    await expect(page.locator("#chats")).not_to_contain_text("All about birds")
    await open_list(page)
    await page.get_by_role("link", name="Archive").click()
    await page.locator(".sessions").get_by_text("All about birds").click()
    await page.get_by_label("This conversation").click()
    await page.locator(".sure > summary").click()
    await page.get_by_role("button", name="Delete it for good").click()
    await expect(page.get_by_text("Deleted.")).to_be_visible()


async def test_nothing_that_is_said_named_or_answered_acts(watched: Watched, site: Site) -> None:
    """A question, an answer, a title and a model's name that are scripts."""
    page = await new_chat(watched)
    site.upstream.add(sse(text(EVIL + "\n\n```html\n" + EVIL + "\n```")))
    await ask(page, EVIL)
    await is_done(page)
    await expect(answers(page)).to_contain_text("<script>alert(1)</script>")
    assert await answers(page).locator("script, img, b, [onerror], a[href^='javascript']").count() == 0
    session_id = page.url.rpartition("/")[2]
    await site.manage("PATCH", f"/claw/sessions/{session_id}", title=EVIL[:190])
    await page.goto(f"{site.url}/ui/chat/{session_id}?model=%3Cscript%3Ealert(1)%3C/script%3E")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("<script>")
    await expect(page.get_by_label("Model", exact=True)).to_have_value("<script>alert(1)</script>")
    await watched.check("chat-evil")


async def test_the_list_opens_where_there_is_no_room_beside(open_page: OpenPage) -> None:
    """And closes by Escape."""
    watched = await open_page(SIZES["small"])
    page = await new_chat(watched)
    await page.get_by_role("link", name="Conversations").click()
    await expect(page.get_by_role("link", name="New chat")).to_be_visible()
    await watched.check("chat-list")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("link", name="New chat")).to_be_hidden()


async def test_without_script_all_but_streaming_works(open_page: OpenPage, size: Size, site: Site) -> None:
    """Asking, asking again, editing, failing, renaming."""
    watched = await open_page(size, java_script_enabled=False)
    watched.expected_statuses.add(400)
    page = await new_chat(watched)
    for question, answer in (("Plain?", "**Plain.**"), ("More?", "More.")):
        site.upstream.add(sse(text(answer)))
        await page.get_by_label("Your question").fill(question)
        await page.get_by_role("button", name="Send").click()
        await expect(answers(page).last).to_contain_text(answer.strip("*"))
    await expect(answers(page).first.locator("strong")).to_have_text("Plain.")
    site.upstream.add(sse(text("Other.")))
    await page.get_by_role("button", name="Answer again").click()
    await expect(answers(page).last).to_contain_text("Other.")
    await expect(answers(page)).to_have_count(2)
    site.upstream.add(json_answer({"error": {"message": "this model is broken", "type": "invalid"}}, status=400))
    await page.get_by_label("Your question").fill("Fails?")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("alert")).to_contain_text("this model is broken")
    await expect(page.get_by_label("Your question")).to_have_value("Fails?")
    site.upstream.add(sse(text("Edited.")))
    await page.locator(".question").first.locator("summary").click()
    await page.get_by_label("The question, edited").first.fill("Edited?")
    await page.get_by_role("button", name="Ask in a new conversation").first.click()
    await expect(answers(page)).to_have_count(1)
    await expect(answers(page)).to_contain_text("Edited.")


async def test_the_chat_runs_under_a_key_of_its_own(
    open_page: OpenPage, size: Size, site: Site, eventually: Eventually
) -> None:
    """It is among the keys, is not revoked or rotated by mistake, and its limits hold; its requests have a purpose."""
    watched = await open_page(size)
    page = await new_chat(watched)
    await ask(page, "Who pays?")
    await is_done(page)
    listed: list[dict[str, Any]] = (await site.manage("GET", "/claw/v1/api-keys"))["keys"]
    (key,) = [each for each in listed if each["name"] == "web-ui"]

    async def recorded() -> list[dict[str, Any]]:
        usage: list[dict[str, Any]] = (await site.manage("GET", f"/claw/v1/usage?key_id={key['id']}"))["usage"]
        return usage

    assert (await eventually(recorded))[0]["purpose"] == "chat"
    for method, path in (("DELETE", ""), ("POST", "/rotate")):
        status = await site.status(method, f"/claw/v1/api-keys/{key['id']}{path}")
        assert status == 409
    watched.expected_statuses.add(403)
    await site.manage("PATCH", f"/claw/v1/api-keys/{key['id']}", allowed_tiers=["gemini"])
    try:
        await ask(page, "And now?")
        await expect(page.get_by_role("alert")).to_be_visible()
    finally:
        await site.manage("PATCH", f"/claw/v1/api-keys/{key['id']}", allowed_tiers=[])


async def test_an_erased_chat_begins_anew(open_page: OpenPage, size: Size, site: Site) -> None:
    """Erasing takes the conversations away; the next question makes another key."""
    watched = await open_page(size)
    page = await new_chat(watched)
    await ask(page, "Forget me.")
    await is_done(page)
    listed = (await site.manage("GET", "/claw/v1/api-keys"))["keys"]
    (key,) = [each for each in listed if each["name"] == "web-ui"]
    await site.manage("POST", f"/claw/v1/api-keys/{key['id']}/erase")
    await page.goto(f"{site.url}/ui/chat")
    await expect(page.locator(".sessions li")).to_have_count(0)
    await ask(page, "Hello again.")
    await is_done(page)
    await expect(page.locator(".sessions li")).to_have_count(1)
