"""The running gateway as `up` sees it: is it ready, its keys, its first answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_POLL_TIMEOUT_S: Final = 5.0
_CALL_TIMEOUT_S: Final = 30.0
_PROMPT: Final = "In one sentence: what is a gateway?"
_MAX_TOKENS: Final = 48
_SHOWN_CHARACTERS: Final = 500


class GatewayCallFailed(Exception):
    """The gateway did not do what was asked; the text says what it answered."""


class GatewayClient:
    """Calls the gateway with the internal token.

    Args:
        url: without /v1.
        internal_secret: accepted by it in place of a key.
        transport: instead of the network, for tests.
    """

    def __init__(self, url: str, internal_secret: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"x-internal-token": internal_secret},
            trust_env=False,  # a proxy of the environment is for other machines
            timeout=_CALL_TIMEOUT_S,
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def why_unhealthy(self) -> str:
        """Return what GET /health gives instead of 200; empty once it is 200."""
        return (await self._poll("/health"))[0]

    async def why_not_ready(self) -> str:
        """Return what GET /ready gives instead of 200; empty once it is 200."""
        return (await self._poll("/ready"))[0]

    async def why_not_listed(self, model: str) -> str:
        """Return what GET /v1/models gives instead of a list with this model; empty once it is listed.

        Unlike the others it leaves an entry in the usage log: not to be called often.
        """
        instead, body = await self._poll("/v1/models")
        try:
            listed = [] if instead else msgspec.json.decode(body, type=_Models).data
        except msgspec.DecodeError:
            listed = []
        return "" if any(one.id == model for one in listed) else instead or f"{model} is not on offer"

    async def why_no_databases(self) -> str:
        """Return what keeps keys from being made: as `why_not_ready`, without the models."""
        instead, body = await self._poll("/ready")
        try:
            parts = msgspec.json.decode(body, type=_Readiness)
            # Its status may be 503 for want of a model: that keeps nobody from making keys.
            missing = not parts.redis == parts.postgres == "ok"
        except msgspec.DecodeError:
            missing = True
        return (instead or "it does not say that Redis and PostgreSQL are there") if missing else ""

    async def _poll(self, path: str) -> tuple[str, bytes]:
        try:
            response = await self._client.get(path, timeout=_POLL_TIMEOUT_S)
        except httpx.HTTPError as error:
            return f"{type(error).__name__} {error}".strip(), b""
        if response.status_code == 200:
            return "", response.content
        return _reason(response), response.content

    async def create_first_key(self, name: str = "default", rpm_limit: int = 60) -> str | None:
        """Create an API key if the gateway never had one; return None if it has.

        Raises:
            GatewayCallFailed: the management API did not answer as expected.
        """
        listed = await self._management("GET", None)
        if listed.get("keys"):
            return None
        made = await self._management("POST", {"name": name, "admin_allowed": False, "rpm_limit": rpm_limit})
        return str(made.get("key", ""))

    async def first_answer(self, model: str) -> AsyncGenerator[str, None]:
        """Yield pieces of a model's answer to a short question, as they come.

        Raises:
            GatewayCallFailed: an error instead of an answer, or in the middle of it, or no text at all.
        """
        body = {
            "model": model,
            "stream": True,
            "max_tokens": _MAX_TOKENS,
            "messages": [{"role": "user", "content": _PROMPT}],
        }
        empty = True
        try:
            async with self._client.stream("POST", "/v1/chat/completions", json=body, timeout=120) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise GatewayCallFailed(_reason(response))
                async for line in response.aiter_lines():
                    if piece := _piece_of(line):
                        empty = False
                        yield piece
        except httpx.HTTPError as error:
            raise GatewayCallFailed(f"{type(error).__name__} {error}".strip()) from None
        if empty:
            raise GatewayCallFailed("the answer was empty")

    @property
    def question(self) -> str:
        """Return what `first_answer` asks."""
        return _PROMPT

    async def set_first_password(self, password: str) -> bool:
        """Set the password of the web UI if it has none; return whether that was done.

        Raises:
            GatewayCallFailed: the management API did not answer as expected.
        """
        found = await self._management("GET", None, "/claw/ui")
        if found.get("password") != "none":
            return False
        body: dict[str, object] = {"password": password, "only_first": True}
        return (await self._management("PUT", body, "/claw/ui/password")).get("changed") is True

    async def _management(
        self, method: str, body: dict[str, object] | None, path: str = "/claw/v1/api-keys"
    ) -> dict[str, Any]:
        try:
            response = await self._client.request(method, path, json=body)
            if response.status_code in {200, 201}:
                return msgspec.json.decode(response.content, type=dict[str, Any])
        except (httpx.HTTPError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise GatewayCallFailed(f"{method} {path}: {type(error).__name__} {error}") from None
        raise GatewayCallFailed(f"{method} {path}: {_reason(response)}")


class _Readiness(msgspec.Struct):
    redis: str = ""
    postgres: str = ""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Event(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    error: dict[str, Any] | None = None


def _piece_of(line: str) -> str:
    text = line.removeprefix("data:").strip()
    # Comments keep the connection alive, and say nothing.
    if not line.startswith("data:") or text == "[DONE]":
        return ""
    try:
        event = msgspec.json.decode(text, type=_Event)
    except msgspec.DecodeError as error:
        raise GatewayCallFailed(f"an event that is no JSON: {text[:200]} ({error})") from None
    if event.error is not None:
        raise GatewayCallFailed(str(event.error.get("message") or "an error without a message"))
    return "".join(choice.delta.content or "" for choice in event.choices)


def _reason(response: httpx.Response) -> str:
    """Return the status and the text of a refusal: an error's message, what is missing of GET /ready, or a text."""
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{response.status_code} {response.text.strip()[:_SHOWN_CHARACTERS]}".strip()
    answer = body if isinstance(body, dict) else {}
    error = answer.get("error")
    reason = error.get("message") if isinstance(error, dict) else error
    if not reason and isinstance(answer.get("status"), str):
        missing = ", ".join(part for part, state in answer.items() if state == "missing")
        reason = answer["status"] + (f" ({missing} missing)" if missing else "")
    return f"{response.status_code} {reason or response.reason_phrase}"[:_SHOWN_CHARACTERS].strip()
