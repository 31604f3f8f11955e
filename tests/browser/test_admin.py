"""The installation in the browser: its state, the audit log, its settings, what the doctor finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.site import PASSWORD
from tests.fleet import INTERNAL_SECRET

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]


async def test_the_state_is_what_a_model_is_told(signed_in: Watched) -> None:
    """With the text itself; it is taken anew when asked for."""
    page = signed_in.page
    await signed_in.open("/ui/admin")
    # One is kept for five minutes: one that was taken for the test before could end between the two looks at it.
    async with page.expect_navigation():
        await page.get_by_role("button", name="Take it anew").click()
    await expect(page.get_by_text("The snapshot was taken anew")).to_be_visible()
    await expect(page.get_by_role("region", name="What runs")).to_contain_text("running")
    await signed_in.check("admin")
    told = (await signed_in.site.manage("GET", "/claw/admin/context"))["context"]
    await page.get_by_text("Show the text").click()
    await expect(page.get_by_label("The text that a model is told", exact=True)).to_have_text(told)


async def test_changes_stand_in_the_audit_log_with_who_made_them(signed_in: Watched) -> None:
    """By the management API and here; older ones on further pages."""
    page, width = signed_in.page, signed_in.width
    for number in range(51):
        await signed_in.site.key(f"audited {width} {number}")
    await signed_in.open("/ui/admin")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Take it anew").click()
    await page.get_by_role("link", name="Audit log").click()
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await expect(rows.nth(0)).to_contain_text("refresh snapshot")
    await expect(rows.nth(0)).to_contain_text("the password of this site")
    await expect(rows.nth(1)).to_contain_text(f"name: audited {width} 50")
    await expect(rows.nth(1)).to_contain_text("the internal token")
    await signed_in.check("admin-audit")
    await page.get_by_role("link", name="Older").click()
    await expect(rows.filter(has_text=f"name: audited {width} 0,")).to_have_count(1)
    await expect(page.get_by_role("link", name="Newest")).to_be_visible()


async def test_settings_are_shown_without_their_secrets(signed_in: Watched, site: Site) -> None:
    """Neither the internal secret nor the password of this site is in the page."""
    page = signed_in.page
    await signed_in.open("/ui/admin/settings")
    row = page.get_by_role("row").filter(has_text="CLAW_PORT")
    await expect(row).to_contain_text(site.url.rpartition(":")[2])
    await expect(page.get_by_role("row").filter(has_text="PLUGIN_INTERNAL_SECRET")).to_contain_text("•")
    text = await page.content()
    assert INTERNAL_SECRET not in text
    assert PASSWORD not in text
    await signed_in.check("admin-settings")


async def test_the_doctor_looks_when_asked(signed_in: Watched) -> None:
    """Is seen to look while it does, and says what is right, too."""
    page = signed_in.page
    await signed_in.open("/ui/admin/doctor")
    await signed_in.check("admin-doctor-before")
    await page.evaluate(_NOTES_WHAT_IS_SHOWN)
    await page.get_by_role("button", name="Look now").click()
    await expect(page.get_by_role("row").filter(has_text="answers").first).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="PostgreSQL")).to_be_visible()
    for found in ("is ready", "Every variable is a setting", "MiB are free"):
        await expect(page.get_by_role("row").filter(has_text=found)).to_be_visible()
    assert await page.evaluate("sessionStorage.getItem('shown')") == "true: Looking …"
    await signed_in.check("admin-doctor")


_NOTES_WHAT_IS_SHOWN = """() => addEventListener("pagehide", () => {
    const isBusy = document.querySelector("main button").getAttribute("aria-busy");
    sessionStorage.setItem("shown", `${isBusy}: ${document.getElementById("announcer").textContent}`);
})"""


async def test_admin_works_without_script(open_page: OpenPage, size: Size) -> None:
    """Its forms and links are plain ones."""
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in(path="/ui/admin")
    await watched.page.get_by_role("button", name="Take it anew").click()
    await expect(watched.page.get_by_text("The snapshot was taken anew")).to_be_visible()
