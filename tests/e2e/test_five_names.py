"""The five names of the page with every tier configured, asked as most clients ask: with all defaults spelt out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.checked_client import checked_async_client
from tests.e2e.page import MODELS
from tests.e2e.stack import Stack
from tests.fleet import PATIENCE_S
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    from pathlib import Path

    from openai import AsyncOpenAI

    from tests.conftest import Eventually

pytestmark = pytest.mark.xdist_group("five-names")

SERVED = {
    "auto": ("local", "scripted", ""),
    "local": ("local", "scripted", ""),
    "gpt-4o": ("paid", "gpt-5.4-mini", ""),
    "gemini-1.5-flash": ("gemini", "gemini-3.8-flash", "presence_penalty"),
    "claude-3-5-sonnet": ("paid", "claude-sonnet-5", "temperature, top_p, presence_penalty"),
}
"""Who answers to each name, and what that model is not told."""
SAID = {"scripted": "Here", "gpt-5.4-mini": "OpenAI", "gemini-3.8-flash": "Google", "claude-sonnet-5": "Anthropic"}
REPLIES = {
    "scripted": openai_replies.text("He", "re"),
    "gpt-5.4-mini": openai_replies.text("Open", "AI"),
    "gemini-3.8-flash": gemini_replies.text("Goo", "gle"),
    "claude-sonnet-5": anthropic_replies.text("Anth", "ropic"),
}
SPELT_OUT: dict[str, Any] = {"temperature": 0.7, "top_p": 1, "presence_penalty": 0, "n": 1, "user": "somebody"}


async def answered(client: AsyncOpenAI, name: str) -> tuple[str, str, str, str]:
    """Return who answers a name with what, and what was left out."""
    messages: Any = [{"role": "user", "content": "Hello"}]
    reply = await client.chat.completions.with_raw_response.create(model=name, messages=messages, **SPELT_OUT)
    whole = reply.parse()
    headers = reply.headers
    served = (headers["x-nself-tier"], headers["x-nself-model"], headers.get("x-nself-omitted", ""))
    assert whole.usage is not None
    return (*served, whole.choices[0].message.content or "")


async def streamed(client: AsyncOpenAI, name: str) -> tuple[str, str, bool]:
    """Return who answers a name with what, piece by piece, and whether the counts came."""
    messages: Any = [{"role": "user", "content": "Hello"}]
    stream = await client.chat.completions.create(
        model=name, messages=messages, stream=True, stream_options={"include_usage": True}, **SPELT_OUT
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    return chunks[-1].model, said, chunks[-1].usage is not None


async def test_the_five_names_answer_whatever_defaults_are_spelt_out(tmp_path: Path, eventually: Eventually) -> None:
    """Each from its own tier, whole and streamed."""
    assert tuple(SERVED) == MODELS
    async with AsyncExitStack() as opened:
        upstreams = {model: await opened.enter_async_context(ScriptedUpstream(models=(model,))) for model in REPLIES}
        for model, upstream in upstreams.items():
            upstream.fallback = sse(REPLIES[model])
        stack = Stack(
            tmp_path,
            CLAW_LOCAL_OPENAI_URL=upstreams["scripted"].url + "/v1",
            OPENAI_API_KEY="sk-openai-secret",
            OPENAI_BASE_URL=upstreams["gpt-5.4-mini"].url + "/v1",
            GEMINI_API_KEY="AIza-gemini-secret",
            GEMINI_BASE_URL=upstreams["gemini-3.8-flash"].url,
            ANTHROPIC_API_KEY="sk-ant-secret",
            ANTHROPIC_BASE_URL=upstreams["claude-sonnet-5"].url,
        )
        await asyncio.to_thread(stack.__enter__)
        opened.push_async_callback(asyncio.to_thread, stack.__exit__, None, None, None)
        key = await asyncio.to_thread(stack.new_key)
        headers = {"authorization": f"Bearer {key.secret}"}

        async def offered() -> bool:
            async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=PATIENCE_S) as http:
                listed = (await http.get(f"{stack.url}/v1/models")).json()
            return {*REPLIES} <= {model["id"] for model in listed["data"]}

        await eventually(offered)
        async with checked_async_client(stack.base_url, key.secret) as client:
            for name, (tier, model, omitted) in SERVED.items():
                assert await answered(client, name) == (tier, model, omitted, SAID[model]), name
                assert await streamed(client, name) == (model, SAID[model], True), name
