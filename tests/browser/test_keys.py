"""Keys are made, changed, rotated and revoked in the browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.async_api import expect

from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from tests.browser.conftest import OpenPage, Size
    from tests.browser.site import Site
    from tests.browser.watched import Watched

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

SECRET = re.compile(r"sk-nself-[0-9a-f]{64}")


async def _answers(site: Site, secret: str) -> int:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {secret}"}, timeout=PATIENCE_S) as client:
        return (await client.get(f"{site.url}/v1/models")).status_code


async def _shown_secret(watched: Watched) -> str:
    shown = await watched.page.get_by_role("textbox", name="The key's secret").inner_text()
    assert SECRET.fullmatch(shown)
    return shown


async def test_a_key_is_made_and_its_secret_shown_once(signed_in: Watched) -> None:
    """With all its limits; the examples have it, and the list does not."""
    page, site = signed_in.page, signed_in.site
    name = f"made at {signed_in.width}"
    await page.get_by_role("link", name="New key").click()
    await signed_in.check("key-new")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Requests a minute").fill("120")
    await page.get_by_label("Tokens a minute").fill("100,000")
    await page.get_by_label("Budget a month").fill("2.50")
    await page.get_by_label("Local").check()
    await page.get_by_label("Models it may use").fill("auto\nscripted")
    await page.get_by_label("Expires").select_option("In 30 days")
    await page.get_by_role("button", name="Create key").click()
    secret = await _shown_secret(signed_in)
    await expect(page.get_by_label("curl command", exact=True)).to_contain_text(f"Bearer {secret}")
    await expect(page.get_by_label("curl command", exact=True)).to_contain_text(f"{site.url}/v1/chat/completions")
    await signed_in.check("key-secret")
    assert await _answers(site, secret) == 200
    (made,) = [key for key in (await site.manage("GET", "/claw/v1/api-keys"))["keys"] if key["name"] == name]
    limits = {"rpm_limit": 120, "tokens_per_minute": 100_000, "monthly_budget_usd": 2.5, "allowed_tiers": ["local"]}
    assert {field: made[field] for field in limits} == limits
    assert made["allowed_models"] == ["auto", "scripted"]
    await page.get_by_role("link", name="All keys").click()
    await expect(page.get_by_role("link", name=name)).to_be_visible()
    await expect(page.locator("body")).not_to_contain_text(secret)
    await signed_in.check("keys")


async def test_a_keys_own_day_is_in_the_viewers_zone_and_its_streams_may_have_no_comments(
    open_page: OpenPage, size: Size, site: Site
) -> None:
    """Also where the form comes back because something else is wrong, and where it is changed later."""
    watched = await open_page(size)
    watched.expected_statuses.add(400)
    await watched.sign_in(path="/ui/keys/new")
    page, name = watched.page, f"on its own day at {size[0]}"
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Requests a minute").fill("none")
    await expect(page.get_by_label("Date and time")).to_be_hidden()
    await page.get_by_label("Expires").select_option("On a date you choose")
    await page.get_by_label("Date and time").fill("2040-01-31T13:00")
    await page.get_by_label("Comments in streams").uncheck()
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_label("Date and time")).to_have_value("2040-01-31T13:00")
    await page.get_by_label("Requests a minute").fill("9")
    await page.get_by_role("button", name="Create key").click()
    await _shown_secret(watched)
    (made,) = [key for key in (await site.manage("GET", "/claw/v1/api-keys"))["keys"] if key["name"] == name]
    assert (made["expires_at"][:16], made["stream_comments"]) == ("2040-01-31T12:00", False)
    await watched.open(f"/ui/keys/{made['id']}/edit")
    await expect(page.get_by_label("Date and time")).to_have_value("2040-01-31T13:00")
    await expect(page.get_by_label("Comments in streams")).not_to_be_checked()


async def test_many_keys_are_on_pages_and_found_by_name(open_page: OpenPage, size: Size, site: Site) -> None:
    """The newest first."""
    for number in range(51):
        await site.key(f"one of many at {size[0]}: {number}")
    watched = await open_page(size)
    await watched.sign_in(path="/ui/keys")
    page, rows = watched.page, watched.page.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await expect(rows.first).to_contain_text(f"one of many at {size[0]}: 50")
    await watched.shot("keys-many")
    await page.get_by_role("link", name="Next").click()
    await expect(rows.first).to_contain_text(f"one of many at {size[0]}: 0")
    await page.get_by_role("searchbox", name="Find").fill(f"of MANY at {size[0]}: 17")
    await page.get_by_role("button", name="Find").click()
    await expect(rows).to_have_count(1)
    await page.get_by_role("searchbox", name="Find").fill("nothing is called this")
    await page.get_by_role("button", name="Find").click()
    await expect(page.get_by_text("No such key")).to_be_visible()


async def test_the_button_copies_the_secret(open_page: OpenPage, size: Size) -> None:
    """And says so to a screen reader."""
    watched = await open_page(size, permissions=["clipboard-read", "clipboard-write"])
    await watched.sign_in(path="/ui/keys/new")
    await watched.page.get_by_label("Name").fill(f"copied at {size[0]}")
    await watched.page.get_by_role("button", name="Create key").click()
    secret = await _shown_secret(watched)
    await watched.page.get_by_role("button", name="Copy: The key's secret").click()
    await expect(watched.page.locator("#announcer")).to_have_text("Copied.")
    assert await watched.page.evaluate("navigator.clipboard.readText()") == secret


async def test_wrong_fields_are_named_and_what_was_typed_stays(signed_in: Watched) -> None:
    """At the fields themselves."""
    page = signed_in.page
    signed_in.expected_statuses.add(400)
    await signed_in.open("/ui/keys/new")
    await page.get_by_label("Name").fill("wrong")
    await page.get_by_label("Requests a minute").fill("many")
    await page.get_by_label("Budget a month").fill("-1")
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was created")
    await expect(page.get_by_label("Requests a minute")).to_have_value("many")
    await expect(page.get_by_label("Requests a minute")).to_have_accessible_description(re.compile("whole number"))
    await expect(page.get_by_label("Budget a month")).to_have_attribute("aria-invalid", "true")
    await signed_in.check("key-wrong")


async def test_a_form_that_is_sent_again_makes_no_second_key(open_page: OpenPage, size: Size, site: Site) -> None:
    """Twice at once it shows the same secret, so that whichever answer the browser shows is of use."""
    watched, name = await open_page(size), f"sent twice at {size[0]}"
    await watched.sign_in(path="/ui/keys/new")
    fields = await watched.page.evaluate(
        "Object.fromEntries(new FormData(document.querySelector('main form')).entries())"
    )
    request = watched.page.context.request
    secrets = set()
    for _ in range(2):
        answer = await request.post(f"{site.url}/ui/keys/new", form={**fields, "name": name})
        assert answer.status == 200
        secrets.add(SECRET.findall(await answer.text())[0])
    assert len(secrets) == 1
    names = [key["name"] for key in (await site.manage("GET", "/claw/v1/api-keys"))["keys"]]
    assert names.count(name) == 1


async def test_a_key_is_changed_rotated_and_revoked(signed_in: Watched) -> None:
    """Each has effect at once, and is in the audit log under the UI's name."""
    page, site = signed_in.page, signed_in.site
    key_id, secret = await site.key(f"to be changed {signed_in.width}", rpm_limit=7)
    await signed_in.open(f"/ui/keys/{key_id}")
    await signed_in.check("key")
    await page.get_by_role("link", name="Change").click()
    await page.get_by_label("Requests a minute").fill("9")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status").first).to_contain_text("was changed")
    await page.get_by_text("Rotate …").click()
    await page.get_by_label("The secret before works for").select_option("Not at all: it is refused at once")
    await signed_in.check("key-rotate")
    await page.get_by_role("button", name="Make a new secret").click()
    rotated = await _shown_secret(signed_in)
    assert (await _answers(site, secret), await _answers(site, rotated)) == (401, 200)
    await page.get_by_role("link", name="To the key").click()
    await page.get_by_text("Revoke …").click()
    await signed_in.check("key-revoke")
    await page.get_by_role("button", name="Revoke the key").click()
    await expect(page.get_by_role("status").first).to_contain_text("is revoked")
    assert await _answers(site, rotated) == 401
    entries = (await site.manage("GET", "/claw/admin/audit-log"))["entries"]
    done = [entry["operation"] for entry in entries if entry["actor"] == "ui" and key_id in str(entry["details"])]
    assert done == ["revoke_key", "rotate_key", "change_key"]


async def test_keys_are_managed_without_script(open_page: OpenPage, size: Size, site: Site) -> None:
    """A key is made, and revoked after a question."""
    watched = await open_page(size, java_script_enabled=False)
    await watched.sign_in(path="/ui/keys/new")
    await watched.page.get_by_label("Name").fill(f"without script at {size[0]}")
    await watched.page.get_by_role("button", name="Create key").click()
    secret = await _shown_secret(watched)
    await watched.page.get_by_role("link", name="To the key").click()
    await watched.page.get_by_text("Revoke …").click()
    await watched.page.get_by_role("button", name="Revoke the key").click()
    await expect(watched.page.get_by_text("is revoked")).to_be_visible()
    assert await _answers(site, secret) == 401
