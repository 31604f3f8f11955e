"""The web UI's password is made by the command line, and holds in every api process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from asyncio import to_thread
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.site import Site, running
from tests.fleet import INTERNAL_SECRET, ready

if TYPE_CHECKING:
    from tests.browser.conftest import OpenSite
    from tests.browser.watched import Watched
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]

NSELF = Path(sys.executable).with_name("nself")


def _made(site: Site, folder: Path) -> str:
    """Run `nself claw ui password`; return what it shows."""
    environment = {
        "PATH": os.environ["PATH"],
        "CLAW_DATA_DIR": str(folder),
        "NSELF_CLAW_URL": site.url,
        "PLUGIN_INTERNAL_SECRET": INTERNAL_SECRET,
    }
    done = subprocess.run(
        [NSELF, "claw", "ui", "password", "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["url"] == f"{site.url}/ui"
    return str(shown["password"])


async def test_a_new_password_holds_in_every_process_and_signs_everybody_out(
    open_site: OpenSite, tmp_path: Path, database_url: str, eventually: Eventually
) -> None:
    """Before the first one the form says how to make one; the second ends what the first one opened."""

    async def opened(site: Site) -> Watched:
        watched = await open_site(site)
        watched.expected_statuses.add(401)
        return watched

    async with running(tmp_path, database_url, eventually, CLAW_WEB_PASSWORD="") as site:
        other = await site.fleet.api()
        await ready(other, eventually)
        here, there = await opened(site), await opened(Site(site.fleet, other.url, site.upstream))
        await here.sign_in("anything")
        await expect(here.page.get_by_role("alert")).to_contain_text("There is no password yet")
        first = await to_thread(_made, site, tmp_path)
        for watched in (here, there):
            await watched.sign_in(first)
            await expect(watched.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
        second = await to_thread(_made, site, tmp_path)
        for watched in (here, there):
            await watched.open("/ui/keys")
            await expect(watched.page.get_by_role("heading", name="Sign in")).to_be_visible()
            await watched.sign_in(first)
            await expect(watched.page.get_by_role("alert")).to_contain_text("neither the password")
            await watched.sign_in(second)
            await expect(watched.page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
            assert watched.problems == []
            await watched.page.context.close()
