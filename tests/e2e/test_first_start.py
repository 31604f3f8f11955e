"""What `nself claw up` shows a newcomer, and the page's Python example beside it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.e2e import page
from tests.e2e.openai_rules import stream_faults
from tests.e2e.stack import Key, Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.model, pytest.mark.hang_bound_s(600)]

EXAMPLE_BOUND_S = 500


def test_first_start_streams_an_answer_of_the_local_model(stack: Stack) -> None:
    """Between the question and the key stands an answer, and which model gave it."""
    shown = re.search(
        r"^> (.+)\n(.+?)\n\(model local; first token after ([\d.]+) s; about \d+ tokens/s\)$",
        stack.shown,
        re.MULTILINE | re.DOTALL,
    )
    assert shown is not None, stack.shown
    assert shown[2].strip()


def test_first_start_shows_one_key_that_works_and_nothing_else_shows_it_again(stack: Stack) -> None:
    """The key stands behind its label and in the line to paste; a list of the keys does not have it."""
    assert stack.shown.count(stack.first_key) == 2
    assert stack.shown.count("It will not be shown again.") == 1
    assert re.fullmatch(r"sk-nself-\S{22,}", stack.first_key)
    assert stack.said("claw", "api", "test", "--key", stack.first_key).startswith("Gateway is reachable.")
    assert stack.first_key not in stack.said("claw", "api", "keys", "list", "--json")


def test_first_start_warns_of_nothing(stack: Stack) -> None:
    """What all processes do at once is no reason to frighten a newcomer."""
    assert re.findall(r"^.* (?:WARNING|ERROR) .*$", stack.shown, re.MULTILINE) == []


def test_first_start_tells_the_base_url_of_the_configured_port(stack: Stack) -> None:
    """The base URL is the page's for a local setup, with our port."""
    assert stack.base_url == f"http://localhost:{stack.port}/v1"


def test_shown_curl_line_streams_an_answer_when_it_is_pasted(stack: Stack) -> None:
    """Everything from `curl` to the blank line, pasted into a shell."""
    line = re.search(r"^curl .*?(?=\n\n)", stack.shown, re.MULTILINE | re.DOTALL)
    assert line is not None
    body = _run("sh", "-c", line[0])
    assert body.endswith(b"data: [DONE]\n\n")
    assert stream_faults(body, {}) == []


def test_python_example_of_the_page_prints_an_answer(stack: Stack, key: Key) -> None:
    """To the letter, with our base URL and key; how long the answer gets is the model's affair."""
    assert _run(sys.executable, "-c", page.with_ours(page.PYTHON, stack.base_url, key.secret)).strip()


def _run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, timeout=EXAMPLE_BOUND_S)
    assert done.returncode == 0, done.stderr
    return done.stdout
