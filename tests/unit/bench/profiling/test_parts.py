"""bench/profiling/parts.py."""

from __future__ import annotations

import pytest

from api.server.connection import Http1Connection
from bench.profiling.parts import CALLS_OUT, INTERPRETER, KERNEL, REST, by_function, by_library, divided, part_of
from shared.redis.pipelined_connection import PipelinedConnection
from workers.providers.http.connection import Connection
from workers.providers.http.direct import DirectClient

OUTER = ["<module> (api/__main__.py:1)", "Runner.run (asyncio/runners.py:86)"]


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        ([], None),
        (["Http1Connection._serve (api/server/connection.py:239)", "g (quart/app.py:1727)"], "Quart, Werkzeug"),
        (["RelayReceiver._feed (api/relay/receiver.py:189)", "decode_frames (shared/relay.py:102)"], "shared"),
        (["OpenAIProvider.stream (workers/providers/openai/provider.py:119)"], "workers/providers"),
        (["Attempt.run (workers/attempts/attempt.py:105)", "enter (contextlib.py:5)"], "workers/attempts"),
        (["PipelinedConnection._write (shared/redis/pipelined_connection.py:132)"], None),
        (
            [
                "PipelinedConnection._write (shared/redis/pipelined_connection.py:132)",
                "join (shared/redis/pipelined_connection.py:2)",
            ],
            "shared/redis",
        ),
    ],
)
def test_a_sample_belongs_to_the_innermost_part_that_is_known(frames: list[str], part: str | None) -> None:
    """What Python's own library does is its caller's; calls of sockets and the loop are no function's."""
    assert part_of([*OUTER, *frames]) == part


def test_what_calls_out_is_ours_by_its_name_of_today() -> None:
    """Else its time would be counted as Python's."""
    ours = {name for name in CALLS_OUT if not name.startswith("StreamWriter.")}
    classes = (Http1Connection, PipelinedConnection, Connection, DirectClient)
    assert ours == {
        f"{kind.__name__}.{name}" for kind in classes for name in vars(kind) if f"{kind.__name__}.{name}" in ours
    }


def test_functions_divide_what_is_the_interpreters() -> None:
    """The largest part comes first, and the shares add up."""
    libraries = by_library(
        [
            " 7f01 (/usr/lib/libpython3.11.so.1.0)",
            " 7f02 (/usr/lib/x86_64-linux-gnu/libc.so.6)",
            " ffff (inlined) ([kernel.kallsyms])",
            " 7f03 (/venv/site-packages/uvloop/loop.cpython-311.so)",
            "",
        ]
    )
    assert libraries == {INTERPRETER: 0.5, KERNEL: 0.25, "uvloop": 0.25}
    functions = by_function(
        ["a (api/http/sse.py:1) 6", "a (api/http/sse.py:2);sub (re/__init__.py:1) 2", "f (x.py:1) 2"]
    )
    assert functions == {"api/http": 0.8, REST: 0.2}
    assert divided(libraries, functions) == {"api/http": 0.4, KERNEL: 0.25, "uvloop": 0.25, REST: 0.1}
