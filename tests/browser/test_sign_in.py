"""Signing in to the web UI, and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.site import PASSWORD

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]


async def test_the_root_leads_a_browser_to_the_form(watched: Watched) -> None:
    """And the form is all that it should be."""
    await watched.open("/")
    await expect(watched.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await watched.check("sign-in")


async def test_the_password_opens_the_page_that_was_asked_for(watched: Watched) -> None:
    """Also with a query."""
    await watched.sign_in(path="/ui/keys?all=true")
    await expect(watched.page).to_have_url(f"{watched.site.url}/ui/keys?all=true")
    await expect(watched.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()


async def test_another_password_opens_nothing_and_the_form_says_so(watched: Watched) -> None:
    """With the status of a refusal; the right one works right after."""
    watched.expected_statuses.add(401)
    await watched.sign_in("wrong")
    await expect(watched.page.get_by_role("alert")).to_contain_text("neither the password nor an active admin key")
    await watched.check("sign-in-failed")
    await watched.page.get_by_label("Password, or an admin key").fill("correct horse battery")
    await watched.page.keyboard.press("Enter")
    await expect(watched.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()


async def test_an_admin_key_signs_in_until_it_is_revoked(open_page: OpenPage, size: Size, site: Site) -> None:
    """A key that is none is refused."""
    key_id, secret = await site.key(f"admin for the UI at {size[0]}", admin_allowed=True)
    _, plain = await site.key(f"no admin at {size[0]}")
    watched = await open_page(size)
    watched.expected_statuses.add(401)
    await watched.sign_in(plain)
    await expect(watched.page.get_by_role("alert")).to_contain_text("no admin key")
    await watched.sign_in(secret)
    await expect(watched.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    await site.manage("DELETE", f"/claw/v1/api-keys/{key_id}")
    await watched.open("/ui/keys")
    await expect(watched.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_an_admin_key_is_offered_nothing_that_it_would_be_refused(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """It sees those pages; with the password the same buttons are there."""
    _, secret = await site.key(f"looks at {size[0]}", admin_allowed=True)
    buttons = "main form[method=post] button:visible, main .confirm:visible, main a[href$='/gemini/new']:visible"
    pages = ("models", "live", "knowledge/documents", "admin")
    offered = {}
    for credential in (secret, PASSWORD):
        watched = await open_page(size)
        await watched.sign_in(credential)
        for name in pages:
            await watched.open(f"/ui/{name}")
            await expect(watched.page.get_by_text("You signed in with an admin key")).to_have_count(
                int(credential == secret)
            )
            offered[credential, name] = await watched.page.locator(buttons).count()
        await watched.open("/ui/keys")
        await expect(watched.page.get_by_role("link", name="New key").first).to_be_visible()
    assert [offered[secret, name] for name in pages] == [0] * len(pages)
    assert all(offered[PASSWORD, name] for name in pages)


async def test_signing_out_ends_the_session_and_not_only_its_cookie(open_page: OpenPage, size: Size) -> None:
    """Who copied the cookie before has nothing of it."""
    watched = await open_page(size)
    await watched.sign_in()
    copied = await watched.page.context.cookies()
    await watched.page.get_by_text("Session").click()
    await watched.page.get_by_role("button", name="Sign out").click()
    await expect(watched.page.get_by_text("You are signed out.")).to_be_visible()
    await watched.page.context.clear_cookies()
    await watched.page.context.add_cookies(copied)  # type: ignore[arg-type]  # its own form
    await watched.open("/ui/keys")
    await expect(watched.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_signing_everybody_out_ends_the_sessions_of_others(open_page: OpenPage, size: Size) -> None:
    """On another device, too."""
    here, there = await open_page(size), await open_page(size)
    await here.sign_in()
    await there.sign_in()
    await here.page.get_by_text("Session").click()
    await here.page.get_by_role("button", name="Sign everybody out").click()
    await expect(here.page.get_by_text("Everybody is signed out")).to_be_visible()
    await there.open("/ui/keys")
    await expect(there.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_the_theme_that_is_chosen_stays(signed_in: Watched) -> None:
    """At once, and on the next page from its first paint."""
    page = signed_in.page
    await page.get_by_text("Session").click()
    async with page.expect_response(lambda response: response.url.endswith("/ui/theme")):
        await page.get_by_role("button", name="Dark").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_everything_works_without_script(open_page: OpenPage, size: Size) -> None:
    """Signing in, the theme, signing out."""
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in()
    await expect(watched.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    await watched.page.get_by_text("Session").click()
    await watched.page.get_by_role("button", name="Dark").click()
    await expect(watched.page.locator("html")).to_have_attribute("data-theme", "dark")
    await watched.page.get_by_text("Session").click()
    await watched.page.get_by_role("button", name="Sign out").click()
    await expect(watched.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_page_that_is_not_there_says_so(signed_in: Watched) -> None:
    """With a way on."""
    signed_in.expected_statuses.add(404)
    await signed_in.open("/ui/nowhere")
    await expect(signed_in.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    await signed_in.check("not-found")
