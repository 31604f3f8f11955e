"""A page in a real browser, and whatever went wrong on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest

from tests.browser.site import PASSWORD

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page, Request

    from tests.browser.site import Site

PATIENCE_MS = 60_000
SMALL = (360, 740)
LARGE = (1920, 1080)
SIZES = {"small": SMALL, "large": LARGE}
AXE = Path(__file__).parents[1] / "e2e" / "node" / "node_modules" / "axe-core" / "axe.min.js"
_WIDER = """() => {
    const width = document.scrollingElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    const beyond = (each) => each.getBoundingClientRect().right > width;
    const found = [...document.querySelectorAll("body *")].filter(beyond).map((each) => each.outerHTML.slice(0, 200));
    return [`${document.scrollingElement.scrollWidth} > ${width}`, ...found];
}"""
_ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
_OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""The rules that look at colours, which are all that the themes differ in."""
_RUN_AXE = "runOnly => axe.run(document, {runOnly, resultTypes: ['violations']})"
HEAVIEST_BYTES = 150 * 1024
_SIZES = "performance.getEntries().filter(one => 'decodedBodySize' in one).map(one => one.decodedBodySize)"
_STATUS = re.compile(r"the server responded with a status of (\d+)")
_REPORT_VIOLATIONS = (
    "document.addEventListener('securitypolicyviolation', "
    "event => console.error('CSP: ' + event.violatedDirective + ' ' + event.blockedURI));"
)


class Watched:
    """A page that notes what went wrong on it.

    Args:
        page: of the browser.
        site: where all that it asks for must be.
        shots: the folder of pictures.
    """

    def __init__(self, page: Page, site: Site, shots: Path) -> None:
        self.page = page
        self.site = site
        self.problems: list[str] = []
        self.expected_statuses: set[int] = set()
        self._shots = shots
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("request", self._on_request)

    @property
    def width(self) -> int:
        """Return the width of the window, in pixels."""
        size = self.page.viewport_size
        return size["width"] if size else 0

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        status = _STATUS.search(message.text)
        if status is None or int(status[1]) not in self.expected_statuses:
            self.problems.append(f"console {message.type}: {message.text} at {message.location}")

    def _on_request(self, request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme in {"http", "https", "ws", "wss"} and asked.netloc != urlsplit(self.site.url).netloc:
            self.problems.append(f"request to another host: {request.url}")

    async def open(self, path: str = "/ui") -> None:
        """Open a page of the site."""
        await self.page.goto(self.site.url + path)

    async def sign_in(self, password: str = PASSWORD, path: str = "/ui/keys") -> None:
        """Open a page as somebody who has to sign in first, and do that."""
        await self.open(path)
        await self.page.get_by_label("Password, or an admin key").fill(password)
        # Until the page that follows is whole: a key that is pressed before its script has run does something else.
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name="Sign in").click()

    async def shot(self, name: str) -> None:
        """Keep a picture of the whole page, in both themes."""
        for theme in ("light", "dark"):
            await self.page.emulate_media(color_scheme=theme)
            await self.page.screenshot(path=self._shots / f"{name}-{self.width}-{theme}.png", full_page=True)
        await self.page.emulate_media(color_scheme="light")

    async def check_accessible(self) -> None:
        """Fail where axe finds something against WCAG 2.2 AA, in either theme."""
        await self.page.evaluate(AXE.read_text())
        themes: tuple[tuple[Literal["light", "dark"], dict[str, Any]], ...] = (("light", _ALL), ("dark", _OF_COLOURS))
        for theme, rules in themes:
            await self.page.emulate_media(color_scheme=theme)
            found: dict[str, Any] = await self.page.evaluate(_RUN_AXE, rules)
            violations = [
                f"{theme}: {rule['id']}: {node['html'][:300]}: {node.get('failureSummary', '')}"
                for rule in found["violations"]
                for node in rule["nodes"]
            ]
            if violations:
                pytest.fail("\n".join(violations))
        await self.page.emulate_media(color_scheme="light")

    async def check_fits(self) -> None:
        """Fail where the page itself scrolls sideways."""
        if wider := await self.page.evaluate(_WIDER):
            pytest.fail("\n".join(wider))

    async def check(self, name: str) -> None:
        """Check all that any page must be, and keep its pictures."""
        await self.shot(name)
        await self.check_fits()
        await self.check_accessible()


async def weight_of(page: Page) -> int:
    """Return how many bytes a page has with all its files, before any compression."""
    sizes: list[int] = await page.evaluate(_SIZES)
    return sum(sizes)


async def new_watched(browser: Browser, site: Site, shots: Path, size: tuple[int, int], **options: Any) -> Watched:
    """Open an empty page in a context of its own."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, locale="en-US", timezone_id="Europe/Berlin", **options
    )
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(_REPORT_VIOLATIONS)
    return Watched(await context.new_page(), site, shots)
