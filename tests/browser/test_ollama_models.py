"""Ollama's models on the page of models: installed with their progress, and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.site import running
from tests.upstreams.ollama.server import OllamaServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import OpenSite
    from tests.conftest import Eventually

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.debian, pytest.mark.npm]


async def test_a_model_is_installed_before_ones_eyes_and_removed(
    open_site: OpenSite, tmp_path: Path, database_url: str, eventually: Eventually
) -> None:
    """How far its download is stands there by itself, also when it has ended."""
    async with (
        OllamaServer(library={"qwen3:4b": 2_000_000_000}) as ollama,
        running(tmp_path, database_url, eventually, PLUGIN_OLLAMA_URL=ollama.url) as site,
    ):
        ollama.is_held = True
        watched = await open_site(site)
        await watched.sign_in(path="/ui/models")
        page = watched.page
        await page.get_by_label("Install a model").fill("qwen3:4b")
        await page.get_by_role("button", name="Install").click()
        row = page.locator("#ollama tbody tr")
        await expect(row).to_contain_text("qwen3:4b")
        await expect(row.get_by_role("progressbar")).to_be_visible()
        await expect(row).to_contain_text("50")
        await watched.check("models-installing")
        ollama.go_on.set()
        await expect(row.get_by_role("progressbar")).to_have_count(0)
        await expect(row).to_contain_text("2.0 GB")
        await row.get_by_text("Remove …").click()
        await row.get_by_role("button", name="Remove it").click()
        await expect(page.get_by_text("No model is installed yet")).to_be_visible()
        assert (ollama.pulled, ollama.disk, watched.problems) == (["qwen3:4b"], {}, [])
        await page.context.close()
