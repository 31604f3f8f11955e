"""The page's JavaScript, and the official JavaScript client's streams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import page
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.npm

EXAMPLE_BOUND_S = 500
_FOLDER = Path(__file__).with_name("node")  # its node_modules holds the client: `npm ci` there
_STREAM = (_FOLDER / "stream.mjs").read_text()
_ERRORS = (_FOLDER / "errors.mjs").read_text()


async def node(code: str, base_url: str, key: str) -> asyncio.subprocess.Process:
    """Start a module with our base URL and key in place of the page's."""
    return await asyncio.create_subprocess_exec(
        *("node", "--input-type=module", "--eval", page.with_ours(code, base_url, key)),
        cwd=_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _output(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(EXAMPLE_BOUND_S):
        shown, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    return shown.decode()


@pytest.mark.model
@pytest.mark.xdist_group("stack")
@pytest.mark.hang_bound_s(600)
async def test_javascript_example_of_the_page_prints_an_answer(stack: Stack, key: Key) -> None:
    """To the letter, with our base URL and key, answered by the embedded model."""
    assert (await _output(await node(page.JAVASCRIPT, stack.base_url, key.secret))).strip()


@pytest.mark.xdist_group("scripted")
async def test_javascript_client_gets_each_token_as_it_comes(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """The model says the second token only once the program has printed the first."""
    seen = asyncio.Event()
    upstream.add(
        sse(openai_replies.chunk({"role": "assistant", "content": "first 🌍"}), seen, openai_replies.text("second"))
    )
    process = await node(_STREAM, scripted.base_url, scripted_key.secret)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == "first 🌍\n".encode()
    seen.set()
    assert (await _output(process)).splitlines() == ["second", "stop", "7 tokens asked"]


@pytest.mark.xdist_group("scripted")
async def test_javascript_client_raises_its_own_error_classes(scripted: Stack, scripted_key: Key) -> None:
    """401, 404, 400 with the parameter, and the page's names without their credential."""
    assert (await _output(await node(_ERRORS, scripted.base_url, scripted_key.secret))).splitlines() == [
        "AuthenticationError invalid_api_key undefined",
        "NotFoundError model_not_found model",
        "BadRequestError invalid_value temperature",
        "BadRequestError model_not_configured model",
    ]
