"""One gateway and one browser for all tests of the web UI; a fresh context of the browser for each page of a test.

Pictures of the pages are kept in `.shots/` (CLAW_SHOTS names another folder), which is not in git.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import pytest
from playwright.async_api import async_playwright, expect

from tests.browser.site import Site, running
from tests.browser.watched import LARGE, PATIENCE_MS, SIZES, Watched, new_watched
from tests.conftest import new_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from tests.conftest import Eventually

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
_OPTIONS = ("--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--disable-sync")


Size: TypeAlias = tuple[int, int]
"""Of a window, in pixels: its width and height."""


class OpenPage(Protocol):
    """Opens pages."""

    async def __call__(self, size: Size = LARGE, **options: Any) -> Watched:
        """Return an empty page of a size."""


class OpenSite(Protocol):
    """Opens pages of a gateway."""

    async def __call__(self, site: Site, **options: Any) -> Watched:
        """Return an empty page."""


@pytest.fixture(scope="session")
async def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, _template: str, eventually: Eventually
) -> AsyncIterator[Site]:
    """Yield the gateway of all these tests."""
    async with (
        new_database(postgres_url, _template) as database_url,
        running(tmp_path_factory.mktemp("site"), database_url, eventually) as started,
    ):
        yield started


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield Debian's Chromium, without a window."""
    # Its own bound of 5 s is that of a machine that has nothing else to do.
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        # As root it runs without its sandbox only; what it opens here is ours.
        started = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(_OPTIONS), chromium_sandbox=os.geteuid() != 0
        )
        yield started
        await started.close()


@pytest.fixture(scope="session")
def shots() -> Path:
    """Return the folder of pictures."""
    folder = Path(os.environ.get("CLAW_SHOTS") or Path(__file__).parents[2] / ".shots")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
async def open_page(browser: Browser, site: Site, shots: Path) -> AsyncIterator[OpenPage]:
    """Opens pages; at the end of the test nothing may have gone wrong on any of them."""
    opened: list[Watched] = []

    async def page_at(size: Size = LARGE, **options: Any) -> Watched:
        watched = await new_watched(browser, site, shots, size, **options)
        opened.append(watched)
        return watched

    yield page_at
    problems = [problem for watched in opened for problem in watched.problems]
    for watched in opened:
        await watched.page.context.close()
    assert problems == []


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> Size:
    """Return each of the two sizes, for who opens pages itself."""
    return SIZES[request.param]


@pytest.fixture
def open_site(browser: Browser, shots: Path, size: Size) -> OpenSite:
    """Opens pages of other gateways, at each of the two sizes. Who opens one closes it, and looks at its problems."""

    async def page_of(site: Site, **options: Any) -> Watched:
        return await new_watched(browser, site, shots, size, **options)

    return page_of


@pytest.fixture
async def watched(open_page: OpenPage, size: Size) -> Watched:
    """Return an empty page, at each of the two sizes."""
    return await open_page(size)


@pytest.fixture
async def signed_in(watched: Watched) -> Watched:
    """Return the page of keys, for who has signed in, at each of the two sizes."""
    await watched.sign_in()
    return watched
