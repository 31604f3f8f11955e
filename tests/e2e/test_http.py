"""HTTP beneath the official client: bodies of any size, wrong methods and paths, browsers' questions."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.e2e.openai_rules import schema_faults
from tests.fleet import PATIENCE_S
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from openai import AsyncOpenAI

    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")

CHAT = "/v1/chat/completions"
MOST_BYTES = 20 * 1024 * 1024
SOCKET_BOUND_S = 60.0


@pytest.fixture
async def http(scripted: Stack, scripted_key: Key) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a plain HTTP client with a key."""
    headers = {"authorization": f"Bearer {scripted_key.secret}"}
    async with httpx.AsyncClient(base_url=scripted.url, headers=headers, trust_env=False, timeout=60) as made:
        yield made


def body_of(size: int) -> bytes:
    """Return a chat request of exactly `size` bytes, most of them no part of the prompt."""
    chat: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "user": ""}
    body = json.dumps({**chat, "user": "x" * (size - len(json.dumps(chat)))}).encode()
    assert len(body) == size
    return body


def fault_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error in a response, which must have OpenAI's form."""
    assert schema_faults("ErrorResponse", response.json()) == []
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = response.json()["error"]
    return error


async def test_a_body_of_twenty_mebibytes_is_answered(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    """Just at the limit; the model gets it whole."""
    upstream.add(sse(openai_replies.text("read")))
    response = await http.post(CHAT, content=body_of(MOST_BYTES))
    assert response.status_code == 200, response.text
    assert len(upstream.requests[0].body["user"]) > MOST_BYTES - 200


async def test_the_official_client_reads_the_413_of_a_longer_body(scripted_client: AsyncOpenAI) -> None:
    """It is an APIStatusError with our code, not a connection error."""
    with pytest.raises(openai.APIStatusError) as caught:
        await scripted_client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "x" * (MOST_BYTES + 1)}]
        )
    assert caught.value.status_code == 413
    assert caught.value.code == "request_too_large"


async def test_one_byte_too_many_is_413(http: httpx.AsyncClient) -> None:
    """Just over the limit."""
    response = await http.post(CHAT, content=body_of(MOST_BYTES + 1))
    assert response.status_code == 413
    assert fault_of(response)["code"] == "request_too_large"


async def test_too_long_a_body_of_unknown_length_is_413(http: httpx.AsyncClient) -> None:
    """Sent in chunks, without a Content-Length."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(22):
            yield b" " * 1024 * 1024

    response = await http.post(CHAT, content=parts())
    assert response.status_code == 413


@pytest.mark.parametrize("expect", ["100-continue", ""])
async def test_curl_reads_the_413(scripted: Stack, scripted_key: Key, tmp_path: Path, expect: str) -> None:
    """With and without the question that curl asks before a large body."""
    large = tmp_path / "large.json"
    large.write_bytes(body_of(2 * MOST_BYTES))
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "60", f"{scripted.url}{CHAT}", "-w", "\n%{http_code}"),
        *("-H", f"Authorization: Bearer {scripted_key.secret}", "-H", "Content-Type: application/json"),
        *("-H", f"Expect: {expect}" if expect else "Expect:", "--data-binary", f"@{large}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, complaints = await curl.communicate()
    assert (curl.returncode, complaints) == (0, b"")
    body, _, status = shown.rpartition(b"\n")
    assert status == b"413"
    assert json.loads(body)["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("mebibytes", [21, 64])
async def test_a_client_that_sends_everything_before_it_reads_gets_the_413(
    scripted: Stack, scripted_key: Key, mebibytes: int
) -> None:
    """As many simple clients do: the connection must not be reset under it."""
    answer = await asyncio.to_thread(_send_all, scripted, CHAT, scripted_key.secret, mebibytes)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    assert b'"code":"request_too_large"' in answer


@pytest.mark.parametrize(("path", "secret", "status"), [(CHAT, "nobody's", 401), ("/v1/nothing", "", 404)])
async def test_a_large_body_that_nobody_reads_does_not_hide_the_refusal(
    scripted: Stack, path: str, secret: str, status: int
) -> None:
    """Who is refused before the body is read gets to read why, too."""
    answer = await asyncio.to_thread(_send_all, scripted, path, secret, 15)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]


def _send_all(stack: Stack, path: str, secret: str, mebibytes: int) -> bytes:
    size = mebibytes * 1024 * 1024
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {secret}\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.port), timeout=SOCKET_BOUND_S) as connection:
        connection.sendall(head.encode() + b" " * size)
        answer = b""
        while not answer.endswith(b"}"):
            data = connection.recv(65536)
            if not data:
                break
            answer += data
    return answer


async def test_refused_bodies_are_in_the_usage_log(scripted: Stack) -> None:
    """Too long a one, whose client asked first and never sent it, and one that is no JSON."""
    key = await asyncio.to_thread(scripted.new_key, "bodies")
    head = f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {key.secret}\r\n"
    asked = f"{head}Expect: 100-continue\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n"
    assert (await _head_of_final_reply(scripted, asked)).startswith(b"HTTP/1.1 413 ")
    async with httpx.AsyncClient(
        trust_env=False, headers={"authorization": f"Bearer {key.secret}"}, timeout=PATIENCE_S
    ) as http:
        await http.post(f"{scripted.url}{CHAT}", content=b"{")
    usage = await asyncio.to_thread(scripted.usage, key.id, 2)
    assert [(entry["status"], entry["endpoint"]) for entry in usage] == [(413, "chat"), (400, "chat")]


async def _head_of_final_reply(stack: Stack, asked: str) -> bytes:
    """Return what comes after a `100 Continue`, if one comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    try:
        async with asyncio.timeout(SOCKET_BOUND_S):
            writer.write(asked.encode())
            while (reply := await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 "):
                pass
            return reply
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"model":"auto","messages":[', b"[" * 100_000, b"{}trailing"],
)
async def test_a_body_that_is_no_json_object_is_400(http: httpx.AsyncClient, body: bytes) -> None:
    """Neither 422 nor 500, and in OpenAI's form."""
    response = await http.post(CHAT, content=body)
    assert response.status_code == 400
    assert fault_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_json_is_read_whatever_its_content_type_says(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, content_type: str
) -> None:
    """A curl without its -H sends a form's type."""
    upstream.add(sse(openai_replies.text("read")))
    response = await http.post(CHAT, content=body_of(200), headers={"content-type": content_type})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, {"POST"}),
        ("PUT", CHAT, {"POST"}),
        ("DELETE", CHAT, {"POST"}),
        ("HEAD", CHAT, {"POST"}),
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("DELETE", "/v1/models/scripted", {"GET", "HEAD"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("POST", "/", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_405_with_those_that_are_allowed(
    http: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    """The Allow header says what would work, and what a browser's preflight uses may be among it."""
    response = await http.request(method, path)
    assert response.status_code == 405
    offered = set(response.headers["allow"].split(", "))
    assert allowed <= offered <= allowed | {"OPTIONS"}
    if method != "HEAD":
        assert fault_of(response)["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/chat/completions/", "/v1/chat", "/%2e%2e/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_404_in_openai_s_form(http: httpx.AsyncClient, method: str, path: str) -> None:
    """Neither HTML nor a redirect."""
    response = await http.request(method, path)
    assert response.status_code == 404
    assert fault_of(response)["code"] == "not_found"


async def test_the_root_is_unknown_to_all_but_browsers(http: httpx.AsyncClient) -> None:
    """Those are sent to the web UI; a program that lost its /v1 is told so."""
    response = await http.get("/")
    assert response.status_code == 404
    assert fault_of(response)["code"] == "not_found"


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/models"])
async def test_head_is_get_without_its_body(http: httpx.AsyncClient, path: str) -> None:
    """The same status and type, for those who only look."""
    seen, got = await http.head(path), await http.get(path)
    assert (seen.status_code, seen.content) == (200, b"")
    assert seen.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/embeddings"])
async def test_a_preflight_needs_no_key_and_allows_what_it_asks(scripted: Stack, path: str) -> None:
    """As the Fetch standard has it: an OK status, the origin, the method, and the SDK's own headers."""
    asked = "authorization,content-type,x-stainless-lang,x-nself-session-id"
    headers = {
        "origin": "https://app.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": asked,
    }
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as anonymous:
        response = await anonymous.options(f"{scripted.url}{path}", headers=headers)
    assert response.is_success
    assert response.content == b""
    assert response.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert set(asked.split(",")) <= set(response.headers["access-control-allow-headers"].replace(" ", "").split(","))


async def test_options_without_a_preflight_is_refused_as_any_wrong_method(http: httpx.AsyncClient) -> None:
    """Not a server error."""
    response = await http.options(CHAT)
    assert response.status_code in {200, 204, 405}
    assert "POST" in response.headers["allow"]


async def test_browsers_may_read_answers_refusals_and_their_headers(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """Of a 401 and 404 as well, so that a page can say what is wrong."""
    upstream.add(sse(openai_replies.text("read")))
    origin = {"origin": "https://app.example.com"}
    replies = [
        await http.post(CHAT, content=body_of(200), headers=origin),
        await http.get("/v1/models", headers=origin | {"authorization": "Bearer nobody's"}),
        await http.get("/v1/nothing", headers=origin),
        await http.get(CHAT, headers=origin),
        await http.post(CHAT, content=b"{", headers=origin),
    ]
    assert [reply.status_code for reply in replies] == [200, 401, 404, 405, 400]
    for reply in replies:
        assert reply.headers["access-control-allow-origin"] == "*"
        exposed = reply.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "retry-after", "x-ratelimit-remaining-requests"} <= set(exposed)
        assert "access-control-allow-credentials" not in reply.headers


async def test_liveness_needs_no_key_and_readiness_names_its_parts(scripted: Stack) -> None:
    """For load balancers and monitors."""
    async with httpx.AsyncClient(trust_env=False, base_url=scripted.url, timeout=PATIENCE_S) as anonymous:
        alive, ready = await anonymous.get("/health"), await anonymous.get("/ready")
    assert alive.json() == {"status": "ok", "base_url": scripted.base_url}
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert {"redis", "postgres", "models"} <= set(ready.json())
