"""A real collector of traces (Rotel, from PyPI) as the tests need one: it shows every span that it got.

It speaks OTLP by its own types, in Rust, and so knows nothing of the SDK that sends to it.
"""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import files
from typing import TYPE_CHECKING, NamedTuple, Self

from cli.up.ports import free_port

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

_RESOURCE = re.compile(r"^ResourceSpans #\d+$", re.MULTILINE)
_SPAN = re.compile(r"^Span #\d+$", re.MULTILINE)
_FIELD = re.compile(
    r"^(?:    )?(Trace ID|Parent ID|ID|Name|Kind|Start time|End time|Status code)\s*: (.*)$", re.MULTILINE
)
_ATTRIBUTE = re.compile(r"^     -> ([\w.]+): (\w+)\((.*)\)$", re.MULTILINE)
_EVENT = re.compile(r"^     -> Name: (.*)$", re.MULTILINE)


class CollectedSpan(NamedTuple):
    """A span as the collector has understood it; times are nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    status: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str]
    events: list[str]
    resource: dict[str, str]


class Collector:
    """A collector on a free port, as an async context manager.

    Args:
        directory: for what it writes.
    """

    def __init__(self, directory: Path) -> None:
        self._output = directory / "collector.txt"
        self._directory = directory
        self._process: Process | None = None
        self.port = free_port()

    async def __aenter__(self) -> Self:
        program = next(file for file in files("rotel") or () if file.name == "rotel-agent").locate()
        addresses = (
            "--otlp-http-endpoint",
            f"127.0.0.1:{self.port}",
            "--otlp-grpc-endpoint",
            f"127.0.0.1:{free_port()}",
        )
        shown = ("--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed")
        kept = ("--pid-file", str(self._directory / "rotel.pid"), "--log-file", str(self._directory / "rotel.log"))
        with self._output.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                str(program), "start", *addresses, *shown, *kept, stdout=output, stderr=output, env={"NO_COLOR": "1"}
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """Return what lets a process send its traces here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def spans(self) -> list[CollectedSpan]:
        """Return all that has come so far."""
        return [
            _span(part, dict(_attributes(parts[0])))
            for resource in _RESOURCE.split(self._output.read_text())[1:]
            for parts in [_SPAN.split(resource)]
            for part in parts[1:]
        ]


def _attributes(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in _ATTRIBUTE.findall(text)]


def _span(text: str, resource: dict[str, str]) -> CollectedSpan:
    fields = dict(reversed(_FIELD.findall(text.partition("\nEvents:")[0])))
    attributes, _, events = text.partition("\nEvents:")
    return CollectedSpan(
        trace_id=fields["Trace ID"],
        span_id=fields["ID"],
        parent_id=fields["Parent ID"],
        name=fields["Name"],
        kind=fields["Kind"],
        status=fields["Status code"],
        start_ns=int(fields["Start time"]),
        end_ns=int(fields["End time"]),
        attributes=dict(_attributes(attributes)),
        events=_EVENT.findall(events),
        resource=resource,
    )
