"""The knowledge base in the browser: searched, listed, added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import FilePayload

    from tests.browser.conftest import OpenPage, Size
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

TEXT = "# Zanzibar\n\nThe {} proxy of our servers is called Quokka, and it is restarted by hand.\n"


def _file(name: str, text: str) -> FilePayload:
    return {"name": name, "mimeType": "text/markdown", "buffer": text.encode()}


async def test_a_document_is_added_found_annotated_and_removed(signed_in: Watched) -> None:
    """Its chunk has its place by words, and the note that was added to it."""
    page, width = signed_in.page, signed_in.width
    name = f"servers-{width}.md"
    await signed_in.open("/ui/knowledge/documents")
    await signed_in.check("knowledge-documents-form")
    await page.get_by_label("Markdown or text").set_input_files([_file(name, TEXT.format(f"w{width}"))])
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("status").filter(has_text=f"{name} was added: 1 chunk.")).to_be_visible()
    await signed_in.check("knowledge-documents")
    await signed_in.open("/ui/knowledge")
    await page.get_by_label("Question").fill(f"w{width} quokka proxy")
    await page.get_by_role("button", name="Search", exact=True).click()
    row = page.get_by_role("row").filter(has_text=f"servers-{width} / Zanzibar")
    await expect(row).to_contain_text("operator")
    await expect(row.get_by_role("cell").nth(1)).to_have_text("1")
    await expect(row).to_contain_text("not searched")
    await signed_in.check("knowledge-found")
    await row.get_by_role("link").click()
    await page.get_by_label("A new note").fill(f"Ours is called Wombat at {width}.")
    await page.get_by_role("button", name="Add note").click()
    await expect(page.get_by_role("listitem").filter(has_text=f"Wombat at {width}")).to_be_visible()
    await signed_in.check("knowledge-chunk")
    await signed_in.open("/ui/knowledge/notes")
    note = page.get_by_role("listitem").filter(has_text=f"Wombat at {width}")
    await signed_in.check("knowledge-notes")
    await note.get_by_role("button", name="Remove").click()
    await expect(page.get_by_text("The note was removed")).to_be_visible()
    await expect(note).to_have_count(0)
    await signed_in.open("/ui/knowledge/documents")
    await page.get_by_role("button", name=f"Remove {name}").click()
    await expect(page.get_by_text(f"{name} was removed")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text=name)).to_have_count(0)


async def test_the_page_says_what_there_is_and_how_it_is_searched(signed_in: Watched) -> None:
    """And leads to the chunks of a category."""
    page = signed_in.page
    await signed_in.open("/ui/knowledge")
    how = page.get_by_role("region", name="How it is searched")
    await expect(how).to_contain_text("By words alone")
    await expect(page.get_by_role("region", name="How good it is")).to_contain_text("nself claw knowledge eval")
    await signed_in.check("knowledge")
    await page.get_by_role("region", name="What it has").get_by_role("link", name="gateway").click()
    await expect(page.get_by_role("row")).to_have_count(51)
    await signed_in.check("knowledge-chunks")
    await page.get_by_role("link", name="More").click()
    await expect(page.get_by_role("link", name="First")).to_be_visible()
    await signed_in.open("/ui/knowledge?q=xyzzyplugh")
    await expect(page.get_by_text("No chunk has these words")).to_be_visible()
    await signed_in.check("knowledge-nothing")


async def test_a_file_that_is_no_text_is_refused_beside_its_field(open_page: OpenPage, size: Size) -> None:
    """Without script too; nothing of what was sent with it is added."""
    watched = await open_page(size, java_script_enabled=False)
    watched.expected_statuses.add(400)
    await watched.sign_in(path="/ui/knowledge/documents")
    page = watched.page
    await page.get_by_label("Markdown or text").set_input_files([_file("good.md", "text"), _file("bad.pdf", "%PDF")])
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("bad.pdf is not Markdown or text")
    await expect(page.get_by_role("row").filter(has_text="good.md")).to_have_count(0)
    await page.get_by_label("Markdown or text").set_input_files([_file("good.md", "text")])
    await page.get_by_label("Category").fill("Our Servers")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.locator("#f-category-error")).to_contain_text("small letters")
