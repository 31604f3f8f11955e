"""The web UI behind a real nginx, under a path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import expect

from cli.up.ports import free_port
from tests.balancers import nginx
from tests.browser.site import PASSWORD, Site, running
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from tests.browser.conftest import OpenSite
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def documented_block(gateway: str, port: int) -> str:
    """Return the location of docs/configuration.md, with our ports, in a server."""
    _, _, rest = PAGE.read_text().partition("    location /gateway/ {\n")
    location = "    location /gateway/ {\n" + rest.partition("\n    }\n")[0] + "\n    }\n"
    return f"server {{\n    listen 127.0.0.1:{port};\n{location.replace('127.0.0.1:3713', gateway)}}}\n"


async def test_the_documented_path_of_a_proxy_works(
    open_site: OpenSite, tmp_path: Path, database_url: str, eventually: Eventually
) -> None:
    """Redirects, links, files, forms and cookies stay under it; sign-ins are counted by the client's address."""
    port = free_port()
    async with (
        running(tmp_path, database_url, eventually, CLAW_TRUSTED_PROXIES="127.0.0.1") as inner,
        nginx(tmp_path, documented_block(urlsplit(inner.url).netloc, port), port, eventually),
    ):
        site = Site(inner.fleet, f"http://127.0.0.1:{port}", inner.upstream)
        watched = await open_site(site)
        page = watched.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        await watched.sign_in(path="/gateway/ui/keys")
        await expect(page).to_have_url(f"{site.url}/gateway/ui/keys")
        (cookie,) = [each for each in await page.context.cookies() if "claw_ui_" in each.get("name", "")]
        assert cookie.get("path") == "/gateway/ui"
        await page.get_by_role("link", name="New key").first.click()
        await page.get_by_label("Name").fill("behind")
        await page.get_by_role("button", name="Create key").click()
        await expect(page.get_by_label("curl command", exact=True)).to_contain_text(f"{site.url}/gateway/v1/chat")
        await page.get_by_role("link", name="Usage").click()
        await expect(page.get_by_role("heading", name="Usage")).to_be_visible()
        await page.get_by_text("Session").click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_text("You are signed out.")).to_be_visible()
        assert [path for path in asked if not path.startswith("/gateway/ui")] == []
        assert watched.problems == []
        await page.context.close()


async def test_cookies_of_a_site_with_https_are_for_https_alone(
    tmp_path: Path, database_url: str, eventually: Eventually
) -> None:
    """As the proxy says that it is one; under the path that it has the gateway by."""
    said = {"x-forwarded-proto": "https", "x-forwarded-prefix": "/gateway"}
    async with (
        running(tmp_path, database_url, eventually, CLAW_TRUSTED_PROXIES="127.0.0.1") as site,
        httpx.AsyncClient(base_url=site.url, headers=said, timeout=PATIENCE_S) as client,
    ):
        shown = await client.get("/ui/sign-in")
        (token,) = re.findall(r'name="csrf" value="([^"]+)"', shown.text)
        client.headers["cookie"] = shown.headers["set-cookie"].partition(";")[0]
        opened = await client.post("/ui/sign-in", data={"csrf": token, "password": PASSWORD, "next": ""})
        assert (opened.status_code, opened.headers["location"]) == (303, "/gateway/ui")
        for answer in (shown, opened):
            attributes = {*answer.headers["set-cookie"].split("; ")[1:]}
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/gateway/ui"} <= attributes
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"


async def test_a_stranger_gives_itself_no_path_and_no_address(site: Site, open_site: OpenSite) -> None:
    """Without `CLAW_TRUSTED_PROXIES` the headers of a proxy mean nothing."""
    watched = await open_site(site, extra_http_headers={"x-forwarded-prefix": "/evil", "x-forwarded-proto": "https"})
    await watched.sign_in()
    assert urlsplit(watched.page.url).path.startswith("/ui")
    assert not any(each.get("secure") for each in await watched.page.context.cookies())
    await watched.page.context.close()
