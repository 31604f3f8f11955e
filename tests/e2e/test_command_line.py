"""The commands of the page, beside the running gateway."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.checked_client import checked_client

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

    from tests.e2e.stack import Key, Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.model]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


def test_keys_are_created_listed_and_revoked(stack: Stack) -> None:
    """The page's four commands in turn, with what their readers look for."""
    created = stack.said("claw", "api", "keys", "create", "--name", "myapp")
    assert len(re.findall(r"sk-nself-[0-9a-zA-Z]{22,}", created)) == 1
    assert "not be shown again" in created
    stack.said("claw", "api", "keys", "create", "--name", "admin-tool", "--admin", "--rpm", "120")
    head, *rows = stack.said("claw", "api", "keys", "list").splitlines()
    assert re.split(r"\s{2,}", head)[:5] == ["ID", "Name", "RPM", "Admin", "Created"]
    listed = {row[1]: row for row in (re.split(r"\s{2,}", row) for row in rows)}
    assert listed["myapp"][2:4] == ["60", "no"]
    assert listed["admin-tool"][2:4] == ["120", "yes"]
    revoked = listed["myapp"][0]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", revoked)
    for _ in range(2):
        assert revoked in stack.said("claw", "api", "keys", "revoke", revoked)
    assert revoked not in stack.said("claw", "api", "keys", "list")


@pytest.mark.parametrize("wrong", ["nonsense", "00000000-0000-0000-0000-000000000000"])
def test_a_key_that_does_not_exist_cannot_be_revoked(stack: Stack, wrong: str) -> None:
    """Exit code 1 and a line on stderr."""
    done = stack.nself("claw", "api", "keys", "revoke", wrong)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_test_reaches_the_gateway_without_and_with_a_key(stack: Stack, key: Key) -> None:
    """The page's three commands."""
    reachable = "Gateway is reachable. 4 models available.\n"
    assert stack.said("claw", "api", "test") == reachable
    assert stack.said("claw", "api", "test", "--key", key.secret) == reachable
    verbose = stack.said("claw", "api", "test", "--verbose")
    assert verbose.startswith(reachable)
    listed = [line.split(maxsplit=1) for line in verbose.splitlines()[1:]]
    available = [name for name, *why_not in listed if not why_not]
    assert available == ["auto", "local", "smollm2-135m", "multilingual-e5-small-q4"]
    assert {name for name, *why_not in listed if why_not} == {"gpt-4o", "gemini-1.5-flash", "claude-3-5-sonnet"}


def test_test_with_a_wrong_key_fails(stack: Stack) -> None:
    """Exit code 1, and the status on stderr."""
    done = stack.nself("claw", "api", "test", "--key", "sk-nself-wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert "401" in done.stderr


def test_every_request_of_a_key_is_in_its_usage_the_failed_ones_too(stack: Stack) -> None:
    """Answered, streamed, refused for what is asked and how: each once, in order, as table and as JSON."""
    key = stack.new_key("watched", rpm=2)
    with checked_client(stack.base_url, key.secret) as client:
        client.chat.completions.create(model="auto", messages=HELLO, max_tokens=3)
        list(client.chat.completions.create(model="local", messages=HELLO, max_tokens=4, stream=True))
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="llama-of-nobody", messages=HELLO)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="auto", messages=[])
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "word " * 5000}])
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="auto", messages=HELLO)
        client.models.list()
    usage = stack.usage(key.id, 8)
    assert [(entry["model"], entry["status"], entry["completion_tokens"]) for entry in usage] == [
        ("smollm2-135m", 200, 3),
        ("smollm2-135m", 200, 4),
        ("llama-of-nobody", 404, 0),
        ("gpt-4o", 400, 0),
        ("auto", 400, 0),
        ("auto", 400, 0),
        ("auto", 429, 0),
        ("", 200, 0),
    ]
    assert [entry["tier_source"] for entry in usage[:2]] == ["local", "local"]
    assert all(entry["key_id"] == key.id and entry["cost_usd"] == 0 for entry in usage)
    head, *rows = stack.said("claw", "api", "usage", "--key", key.id).splitlines()
    assert re.split(r"\s{2,}", head)[:5] == ["Key ID", "Prompt", "Compl", "Model", "Time"]
    assert len(rows) == len(usage) - 1, "the list of models is no request to a model"
    everyone = stack.json_of("claw", "api", "usage")["usage"]
    assert {entry["request_id"] for entry in usage} <= {entry["request_id"] for entry in everyone}


def test_a_request_refused_for_its_key_is_nobody_s_usage(stack: Stack) -> None:
    """There is no key to log it under."""
    before = len(stack.json_of("claw", "api", "usage")["usage"])
    with checked_client(stack.base_url, "sk-nself-" + "1" * 64) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert len(stack.json_of("claw", "api", "usage")["usage"]) == before


def test_env_tells_a_shell_where_everything_is(stack: Stack) -> None:
    """Each variable once, with a value."""
    environment = stack.environment()
    assert set(environment) == {
        *("REDIS_URL", "DATABASE_URL", "PLUGIN_INTERNAL_SECRET", "NSELF_CLAW_URL", "NSELF_CLAW_ENV")
    }
    assert all(environment.values())
    assert environment["NSELF_CLAW_URL"].endswith(f":{stack.port}")
