"""Start other gateways in front of a mock upstream, each configured as its own documentation says, storing nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx

from bench.compare.measure import Target
from bench.peers.install import LITELLM, SMG, install_portkey, install_python
from bench.stack import StackFailed
from cli.up.child import launch_command
from cli.up.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

READY_S: Final = 180.0
STOP_S: Final = 10.0
_POLL_S: Final = 0.2
_KEY: Final = "sk-bench"


@dataclass(frozen=True, kw_only=True)
class Upstreams:
    """Base URLs of the mocks, up to `/v1`.

    Attributes:
        all_models: one that announces every model.
        by_model: one for each model, for a gateway that takes a single model from each upstream.
    """

    all_models: str
    by_model: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A peer: how it is started and addressed; `ready` is the path that answers 200 once it serves."""

    command: list[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


def smg(upstreams: Upstreams, port: int, folder: Path) -> Launch:
    """Configure smg (docs: Getting Started). It takes one model from each worker."""
    del folder
    # It asks each worker for its model, and appends paths itself.
    workers = [url.removesuffix("/v1") for url in upstreams.by_model.values()]
    metrics = ["--prometheus-host", LOOPBACK, "--prometheus-port", str(free_port())]
    listen = ["--host", LOOPBACK, "--port", str(port), "--log-level", "error"]
    program = str(install_python(SMG) / "smg")
    return Launch(command=[program, "launch", *listen, *metrics, "--worker-urls", *workers], ready="/readiness")


def litellm(upstreams: Upstreams, port: int, folder: Path) -> Launch:
    """Configure LiteLLM's proxy (docs: Config.yaml, Production Best Practices): one worker, no log of requests."""
    models = [
        {
            "model_name": model,
            "litellm_params": {"model": f"openai/{model}", "api_base": upstreams.all_models, "api_key": _KEY},
        }
        for model in upstreams.by_model
    ]
    config = folder / "litellm.yaml"
    settings = {"model_list": models, "general_settings": {"master_key": _KEY}, "litellm_settings": {"num_retries": 0}}
    config.write_text(json.dumps(settings))  # JSON is YAML
    listen = ["--host", LOOPBACK, "--port", str(port), "--num_workers", "1"]
    return Launch(
        command=[str(install_python(LITELLM) / "litellm"), "--config", str(config), *listen],
        ready="/health/liveliness",
        # Without LOCAL_MODEL_COST_MAP it fetches a price list from the network at its start.
        environment={"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )


def portkey(upstreams: Upstreams, port: int, folder: Path) -> Launch:
    """Configure Portkey's gateway (docs: LocalAI): the upstream is named by each request's headers."""
    del folder
    return Launch(
        command=["node", str(install_portkey()), "--headless", f"--port={port}"],
        ready="/",
        environment={"PORT": str(port), "NODE_ENV": "production"},
        headers=("x-portkey-provider: openai", f"x-portkey-custom-host: {upstreams.all_models}"),
    )


PEERS: Final[dict[str, Callable[[Upstreams, int, Path], Launch]]] = {
    "smg": smg,
    "Portkey": portkey,
    "LiteLLM": litellm,
}


@asynccontextmanager
async def started(name: str, upstreams: Upstreams, folder: Path) -> AsyncIterator[Target]:
    """Install a gateway where needed, start it and wait until it serves.

    Raises:
        StackFailed: it cannot be installed, or does not come up.
    """
    port = free_port()
    launch = await asyncio.to_thread(PEERS[name], upstreams, port, folder)
    with (folder / f"{name}.log").open("w+b") as log:
        process = await asyncio.create_subprocess_exec(
            *launch_command(launch.command, signal.SIGKILL, None),
            cwd=folder,
            # Nothing of this environment: a key or a proxy in it would change what is measured.
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), **launch.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        base = f"http://{LOOPBACK}:{port}"
        try:
            if not await _serves(f"{base}{launch.ready}", process):
                log.seek(0)
                raise StackFailed(f"{name} does not come up.\n{log.read().decode(errors='replace')[-2000:]}")
            yield Target(
                name=name,
                url=f"{base}/v1/chat/completions",
                direct=f"{upstreams.all_models}/chat/completions",
                groups={"gateway": [process.pid]},
                key=_KEY,
                headers=launch.headers,
            )
        finally:
            await _stop(process)


async def _serves(url: str, process: asyncio.subprocess.Process) -> bool:
    deadline = time.monotonic() + READY_S
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        while process.returncode is None and time.monotonic() < deadline:
            try:
                if (await client.get(url)).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            await asyncio.sleep(_POLL_S)
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
