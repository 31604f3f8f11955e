"""The management API as the command line calls it; every failure is one clear line.

The exit code is 2 where the gateway says that the command cannot be meant, else 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import httpx

from cli.options import Meaningless
from cli.tables import printable
from cli.up.running import read_note
from shared.setting_values import SettingsError
from shared.settings import Settings, load_settings, stored_internal_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

START_IT: Final = "Start it with: nself claw up"
_OURS: Final = "req_"
"""Beginning of the gateway's request ids; other servers have others, or none."""
INTERNAL_HEADER: Final = "x-internal-token"
_TYPED: Final = {
    "account_email": "EMAIL",
    "admin_allowed": "--admin",
    "allowed_models": "--model",
    "allowed_tiers": "--tier",
    "chunk_id": "CHUNK",
    "enabled": "--enable or --disable",
    "expires_at": "--expires",
    "grace_s": "--grace",
    "is_default": "--default",
    "message_id": "--at",
    "monthly_budget_usd": "--budget",
    "prompt_tokens_per_minute": "--tpm",
    "requests_per_day": "--rpd",
    "requests_per_minute": "--rpm",
    "rpm_limit": "--rpm",
    "system_prompt_id": "--prompt",
    "tokens_per_minute": "--tpm",
}
"""Options that people typed, by the field of a body that they have not seen."""
TIMEOUT_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 5.0
_Answer = TypeVar("_Answer", dict[str, Any], list[Any])


def settings() -> Settings:
    """Load what the environment and the data dir say.

    Raises:
        ClickException: a variable cannot be used.
    """
    try:
        return load_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def gateway_url(given: str | None = None) -> str:
    """Find the gateway's URL, without a slash or /v1 at the end: what was named, else what runs on the data dir."""
    found = settings()
    url = given or found.cli_url
    if not url:
        running = read_note(found.data_dir)
        url = running.claw_url if running else f"http://localhost:{found.port}"
    # People give OpenAI's base URL, too.
    return url.strip().rstrip("/").removesuffix("/v1").rstrip("/")


def ai_url() -> str | None:
    """Return the server of the /ai calls, where NSELF_AI_URL names another one than the gateway."""
    return settings().ai_url


def internal_headers() -> dict[str, str]:
    """Return the header that opens the management API.

    Raises:
        ClickException: the secret is nowhere to be found.
    """
    return {INTERNAL_HEADER: _internal_secret()[0]}


def _internal_secret() -> tuple[str, str]:
    """Return the internal secret and, for people, where it is from: the shell, the gateway that runs, its data."""
    found = settings()
    stored = stored_internal_secret(found.data_dir)
    # The settings have the stored one where the shell has none: only another one is the shell's.
    if found.internal_secret and found.internal_secret != stored:
        return found.internal_secret, "PLUGIN_INTERNAL_SECRET of this shell"
    running = read_note(found.data_dir)
    # It may have been started with another one than is stored.
    if running is not None and running.internal_secret:
        return running.internal_secret, f"the gateway that runs on {found.data_dir}"
    if not found.internal_secret:
        raise click.ClickException(
            f"No internal secret: set PLUGIN_INTERNAL_SECRET, or run this where the gateway keeps its data "
            f"(looked in {found.data_dir / 'secrets'}; CLAW_DATA_DIR names another place)."
        )
    return found.internal_secret, str(found.data_dir / "secrets" / "internal_secret")


def call(
    method: str,
    path: str,
    *,
    url: str | None = None,
    headers: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
    query: dict[str, str | int] | None = None,
) -> dict[str, Any]:
    """Call the gateway and return the JSON object of its answer.

    Args:
        method: of HTTP.
        path: with its leading slash.
        url: the gateway's, if it is not the configured one.
        headers: the credential; the internal token if it is not given.
        body: sent as JSON.
        query: the query string.

    Raises:
        ClickException: the gateway cannot be reached, refuses, or answers something else than JSON.
    """
    return _call(dict, method, path, url=url, headers=headers, body=body, query=query)


def call_for_array(
    method: str, path: str, *, url: str | None = None, body: dict[str, Any] | list[Any] | None = None
) -> list[Any]:
    """Call the gateway with the internal token, where the answer is a JSON array."""
    return _call(list, method, path, url=url, body=body)


def download(path: str, *, query: dict[str, str | int]) -> Iterator[bytes]:
    """Call the gateway with the internal token and yield its answer as it comes, whatever it is.

    Raises:
        ClickException: the gateway cannot be reached, refuses, or breaks off.
    """
    base = gateway_url()
    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=not is_here(base)) as client,
            client.stream("GET", base + path, headers=internal_headers(), params=query) as response,
        ):
            if not response.is_success:
                # Of a stream httpx has read nothing yet.
                response.read()
                _answer(response, base, dict)
            yield from response.iter_bytes()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise click.ClickException(f"The gateway at {base}: {error or type(error).__name__}. {hint(None)}") from None


def _call(
    kind: type[_Answer],
    method: str,
    path: str,
    *,
    url: str | None,
    headers: dict[str, str] | None = None,
    body: dict[str, Any] | list[Any] | None,
    query: dict[str, str | int] | None = None,
) -> _Answer:
    base = gateway_url(url)
    headers = internal_headers() if headers is None else headers
    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        # A proxy of the environment is for other machines, and could not reach this one's loopback.
        with httpx.Client(timeout=timeout, trust_env=not is_here(base)) as client:
            response = client.request(method, base + path, headers=headers, json=body, params=query)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise click.ClickException(
            f"The gateway at {base} cannot be reached: {error or type(error).__name__}. {hint(url)}"
        ) from None
    # Of the management API a model server has nothing.
    if (
        path.startswith("/v1/")
        and response.is_success
        and not response.headers.get("x-request-id", "").startswith(_OURS)
    ):
        raise click.ClickException(
            f"The server at {base} answers as a model server does, not as the gateway: give the gateway's address."
        )
    if response.status_code == 401 and INTERNAL_HEADER in headers:
        _, source = _internal_secret()
        raise click.ClickException(
            f"The gateway at {base} does not accept the internal secret, which is from {source}."
        )
    return _answer(response, base, kind)


def hint(url: str | None) -> str:
    """Return what to do where nobody answers: another address than this machine's own was configured, or none."""
    if url:
        return "That is the address of --url."
    return "NSELF_CLAW_URL names that address." if settings().cli_url else START_IT


def is_here(base: str) -> bool:
    """Return whether the gateway is on this machine: then no proxy is to be used."""
    return urlsplit(base).hostname in {"localhost", "127.0.0.1", "::1"}


def _answer(response: httpx.Response, base: str, kind: type[_Answer]) -> _Answer:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.is_success and isinstance(answer, kind):
        return answer
    if response.is_success:
        raise click.ClickException(f"The server at {base} does not answer as the gateway does.")
    reason = printable(reason_of(answer) or response.reason_phrase)
    kind_of_failure = Meaningless if response.status_code == 400 else click.ClickException
    raise kind_of_failure(f"The gateway answered {response.status_code}: {reason}")


def reason_of(answer: Any) -> str:
    """Return the text of an error: a string in the management API, an object in OpenAI's format."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return _for_people(str(error.get("message", "")) if isinstance(error, dict) else str(error or ""))


def _for_people(text: str) -> str:
    """Return a message about a body that nobody has written: without the path in it, and by the option of the field."""
    problem, _, path = text.partition(" - at `")
    field = path.removesuffix("`").rpartition(".")[2]
    sentence = f"{field}: {problem}" if field.isidentifier() and field not in problem else problem
    first = sentence.partition(" ")[0].rstrip(":")
    return _TYPED.get(first, first) + sentence.removeprefix(first)
