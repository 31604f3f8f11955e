"""The page's curl examples; that of the embedded model is in test_first_start.py."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e import page
from tests.e2e.openai_rules import schema_faults, stream_faults
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")


async def pasted(example: str, stack: Stack, key: Key) -> bytes:
    """Return what a shell prints for an example with our base URL and key."""
    shell = await asyncio.create_subprocess_exec(
        *("sh", "-c", page.with_ours(example, stack.base_url, key.secret)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, complaints = await shell.communicate()
    assert shell.returncode == 0, complaints
    return shown


async def test_curl_example_of_the_page_gets_a_completion(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """To the letter, with our base URL and key."""
    upstream.add(sse(openai_replies.text("Plugins", " explained")))
    completion = json.loads(await pasted(page.CURL, scripted, scripted_key))
    assert schema_faults("CreateChatCompletionResponse", completion) == []
    assert completion["choices"][0]["message"]["content"] == "Plugins explained"
    assert upstream.requests[0].body["messages"] == [{"role": "user", "content": "Explain nSelf plugins"}]


async def test_streaming_curl_example_of_the_page_gets_chunks(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """To the letter, with our base URL and key."""
    upstream.add(sse(openai_replies.text("Hello", " yourself")))
    stream = await pasted(page.CURL_STREAM, scripted, scripted_key)
    assert stream_faults(stream, {}) == []
    assert stream.endswith(b"data: [DONE]\n\n")
    assert stream.index(b"Hello") < stream.index(b" yourself")
