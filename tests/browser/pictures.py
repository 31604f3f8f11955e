"""Make the pictures of docs/ui.md of what the last run of tests/browser kept: `python -m tests.browser.pictures`."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Final

from playwright.async_api import async_playwright

from tests.browser.conftest import CHROMIUM

ROOT: Final = Path(__file__).parents[2]
SHOTS: Final = ROOT / ".shots"
PICTURES: Final = ROOT / "docs" / "ui"
WIDTH, HEIGHT = 960, 540
NAMES: Final = {
    "overview": "overview-1920-light",
    "live": "live-queue-1920-light",
    "keys": "keys-1920-light",
    "usage": "usage-1920-light",
    "models": "models-1920-light",
    "chat": "chat-answered-1920-light",
    "knowledge": "knowledge-found-1920-light",
    "admin": "admin-1920-light",
}
"""The picture of each page, and the one that the tests kept."""


async def main() -> None:
    """Scale each to half its size, and keep its upper part."""
    PICTURES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for name, shot in NAMES.items():
            encoded = base64.b64encode((SHOTS / f"{shot}.png").read_bytes()).decode()
            await page.set_content(f'<body style="margin:0"><img width={WIDTH} src="data:image/png;base64,{encoded}">')
            await page.locator("img").wait_for()
            await page.screenshot(path=PICTURES / f"{name}.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
