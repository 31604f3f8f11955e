"""The line of a finished request: one, in either form, whatever a client put into it."""

from __future__ import annotations

import io
import json
import logging
import re
from contextvars import copy_context
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.process import log
from shared.process.finished import log_finished
from shared.process.log import REQUEST_ID
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = "01a2184ad2807025bcd1d1501ee1899f"
RECORD = UsageRecord(
    request_id=REQUEST,
    key_id="0198c1d0-0000-7000-8000-000000000001",
    endpoint="chat",
    requested_model="auto",
    model="qwen3:8b",
    tier="local",
    attempts=2,
    admitted_ms=1_790_000_000_000,
    wait_ms=12,
    first_token_ms=250,
    duration_ms=900,
    prompt_tokens=10,
    completion_tokens=20,
    cost_usd=0.25,
    stream=True,
)
HEAD = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z INFO claw\.requests finished ")
PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)(?: |$)')


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Yield what the log writes; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _written(record: UsageRecord, form: str, level: str = "INFO") -> str:
    log.configure_logging(level, form)
    output = io.StringIO()
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(output)
    log_finished(record)
    return output.getvalue()


def _fields(line: str) -> dict[str, str]:
    """Return the fields of a line of text."""
    rest = line[HEAD.match(line).end() :]  # type: ignore[union-attr]  # it is there, else the test fails
    assert "".join(match[0] for match in PAIR.finditer(rest)) == rest
    return {name: json.loads(value) if value[0] == '"' else value for name, value in PAIR.findall(rest)}


def test_a_line_says_who_asked_what_served_and_what_it_took() -> None:
    """As text, with what does not apply left out."""
    assert _fields(_written(RECORD, "text").removesuffix("\n")) == {
        "request_id": REQUEST,
        "key_id": "0198c1d0-0000-7000-8000-000000000001",
        "endpoint": "chat",
        "status": "200",
        "asked": "auto",
        "model": "qwen3:8b",
        "tier": "local",
        "attempts": "2",
        "stream": "true",
        "wait_ms": "12",
        "first_token_ms": "250",
        "duration_ms": "900",
        "prompt_tokens": "10",
        "completion_tokens": "20",
        "cost_usd": "0.25",
    }


@given(
    asked=st.text(st.characters(codec=None), max_size=60),
    code=st.text(max_size=20),
    form=st.sampled_from(["text", "json"]),
)
def test_no_name_of_a_client_makes_a_second_line_or_another_field(asked: str, code: str, form: str) -> None:
    """Every text comes out of the line as it went in, and the line is one, of printable characters."""
    written = _written(msgspec.structs.replace(RECORD, requested_model=asked, error_code=code), form)
    line = written.removesuffix("\n")
    assert written == line + "\n"
    assert line.isascii()
    assert line.isprintable()
    fields = json.loads(line) if form == "json" else _fields(line)
    assert (fields.get("asked", ""), fields.get("error", "")) == (asked, code)
    assert fields["request_id"] == REQUEST


def test_a_line_as_json_has_typed_fields() -> None:
    """Beside those that every line has."""
    line = json.loads(_written(RECORD, "json"))
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "claw.requests", "finished")
    assert (line["attempts"], line["cost_usd"], line["stream"], line["status"]) == (2, 0.25, True, 200)


def test_no_line_is_written_where_info_is_not() -> None:
    """It costs nothing then."""
    assert _written(RECORD, "text", "WARNING") == ""


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("message", ["no thinking could be kept", f"request {REQUEST}: it failed"])
def test_every_line_of_a_requests_task_names_the_request(form: str, message: str) -> None:
    """Once, whoever logs it; a traceback goes along."""

    def fail() -> str:
        REQUEST_ID.set(REQUEST)
        log.configure_logging("INFO", form)
        output = io.StringIO()
        logging.getLogger().handlers[0].setStream(output)  # type: ignore[attr-defined]  # a StreamHandler
        try:
            raise ValueError("a\nb")
        except ValueError:
            logging.getLogger("a").exception(message)
        return output.getvalue()

    written = copy_context().run(fail)
    if form == "json":
        line = json.loads(written)
        assert line["request_id"] == REQUEST
        assert "ValueError: a\nb" in line["exception"]
    else:
        assert written.split("\n")[0].count(REQUEST) == 1
        assert REQUEST not in written.split("\n", 1)[1]
