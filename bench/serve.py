"""A stack that only waits: to put load on it by hand, and profile it."""

from __future__ import annotations

import asyncio
import signal

from bench.stack import running


async def serve() -> None:
    """Serve a stack: print where everything is, and wait for Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running() as stack:
        pids = " ".join(f"{group}={','.join(map(str, pids))}" for group, pids in stack.groups.items())
        # bench/compare/checkout.py reads these two lines, of other commits too: they stay as they are.
        print(f"url={stack.apis[0]}/v1/chat/completions direct={stack.openai_url}/chat/completions", flush=True)
        print(f"key={stack.key} {pids}", flush=True)
        await stop.wait()
