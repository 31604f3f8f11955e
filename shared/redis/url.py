"""The URL of Redis: what it may say, and what follows for connections. Nothing here connects.

    redis://[user:password@]host[:port][/db]                              one server
    rediss://...                                                          the same over TLS
    unix://[user:password@]/path/to/socket[?db=0]                         its socket
    redis+sentinel://[user:password@]host[:port],host[:port]/master[/db]  the master that Sentinels name
    rediss+sentinel://...                                                 the same, all of it over TLS

Options stand in the query, named as redis-py names them.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_REQUIREMENTS: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "yes", "1", "false", "no", "0"}:
        raise ValueError
    return text.lower() in {"true", "yes", "1"}


_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {
    "db": int,
    "client_name": str,
    "health_check_interval": int,
    "max_connections": int,
    "socket_connect_timeout": float,
    "socket_keepalive": _boolean,
    "socket_timeout": float,
    "timeout": float,
}
_TLS_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_cert_reqs": lambda text: _REQUIREMENTS[text],
    "ssl_check_hostname": _boolean,
}
_SENTINEL_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {"sentinel_username": str, "sentinel_password": str}


class RedisUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URL.

    Attributes:
        options: of each connection, as redis-py names them: host and port or path, login, db, and those of the query.
        tls: how to check and be checked; None without TLS.
        sentinels: host and port of each; empty without Sentinel.
        sentinel_login: username and password for them, as far as given.
        master: the name by which they know it.
    """

    options: dict[str, Any]
    tls: ssl.SSLContext | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_login: dict[str, str] = {}
    master: str = ""


def parse_redis_url(url: str) -> RedisUrl:
    """Read a URL, and the certificates and keys that it names.

    Raises:
        ValueError: it cannot be used; the text says why, without its password.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"must start with {' or '.join(scheme + '://' for scheme in SCHEMES)}")
    is_tls, by_sentinel = parts.scheme.startswith("rediss"), parts.scheme.endswith("+sentinel")
    query = _query(parts.query, is_tls=is_tls, by_sentinel=by_sentinel)
    options = _login(parts) | {name: value for name, value in query.items() if name in _OPTIONS}
    tls = _tls(query) if is_tls else None
    if parts.scheme == "unix":
        return RedisUrl(options={**options, "path": unquote(parts.path)})
    names = [unquote(name) for name in parts.path.split("/") if name]
    if by_sentinel:
        if not names:
            raise ValueError("names no master: redis+sentinel://host:port,host:port/master")
        return RedisUrl(
            options={"db": _database(names[1:]), **options},
            tls=tls,
            sentinels=tuple(_address(one, SENTINEL_PORT) for one in _hosts(parts).split(",")),
            sentinel_login={name.removeprefix("sentinel_"): query[name] for name in _SENTINEL_OPTIONS if name in query},
            master=names[0],
        )
    host, port = _address(_hosts(parts), REDIS_PORT)
    return RedisUrl(options={"host": host, "port": port, "db": _database(names), **options}, tls=tls)


def _query(text: str, *, is_tls: bool, by_sentinel: bool) -> dict[str, Any]:
    found = {}
    for name, values in parse_qs(text).items():
        if name in _TLS_OPTIONS and not is_tls:
            raise ValueError(f"has {name}, which is for rediss:// and rediss+sentinel:// only")
        if name in _SENTINEL_OPTIONS and not by_sentinel:
            raise ValueError(f"has {name}, which is for redis+sentinel:// and rediss+sentinel:// only")
        convert = (_OPTIONS | _TLS_OPTIONS | _SENTINEL_OPTIONS).get(name)
        if convert is None:
            raise ValueError(f"has an unknown option {name}")
        try:
            found[name] = convert(values[0])
        except (ValueError, KeyError):
            raise ValueError(f"has an option {name} with a value that cannot be used") from None
    return found


def _login(parts: SplitResult) -> dict[str, Any]:
    given = {"username": parts.username, "password": parts.password}
    # Unquoted: passwords may hold what has a meaning in a URL.
    return {name: unquote(text) for name, text in given.items() if text}


def _hosts(parts: SplitResult) -> str:
    # Not `hostname`: Sentinels are several, separated by commas.
    return parts.netloc.rpartition("@")[2]


def _address(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number up to 65535") from None
    if not parts.hostname:
        raise ValueError("names no host where one is needed")
    return parts.hostname, port or default_port


def _database(names: list[str]) -> int:
    if len(names) > 1 or (names and not names[0].isdecimal()):
        raise ValueError("has something else than the number of a database at its end")
    return int(names[0]) if names else 0


def _tls(query: dict[str, Any]) -> ssl.SSLContext:
    """Return the TLS context of a URL; a CA that it names is the only one, and host names are checked by default."""
    if "ssl_keyfile" in query and "ssl_certfile" not in query:
        raise ValueError("has ssl_keyfile without ssl_certfile")
    try:
        context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
        if "ssl_certfile" in query:
            context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"))
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"names a certificate or key that cannot be used: {error}") from None
    required = query.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
    # In this order: Python refuses CERT_NONE while names are checked.
    context.check_hostname = required != ssl.CERT_NONE and query.get("ssl_check_hostname", True)
    context.verify_mode = required
    return context
