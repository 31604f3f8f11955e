"""What a Redis URL may say, and what is said of one that cannot be used."""

from __future__ import annotations

import pytest
from redis.asyncio import BlockingConnectionPool

from shared.redis import client as redis_client
from shared.redis.url import parse_redis_url
from shared.setting_values import SettingsError
from shared.settings import load_settings


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://cache", "must start with redis://"),
        ("redis+sentinel://:pass-word@a:1,b:2", "names no master"),
        ("redis+sentinel://:pass-word@a:x/main", "port"),
        ("redis+sentinel://:pass-word@a:1,/main", "names no host"),
        ("redis+sentinel://:pass-word@a:1/main/zero", "number of a database"),
        ("redis://:pass-word@a/zero", "number of a database"),
        ("redis://:pass-word@a?ssl_ca_certs=x", "rediss://"),
        ("redis://:pass-word@a?sentinel_password=x", "sentinel://"),
        ("redis://:pass-word@a?decode_responses=1", "unknown option decode_responses"),
        ("redis://:pass-word@a?socket_timeout=soon", "socket_timeout"),
        ("rediss://:pass-word@a?ssl_ca_certs=/nowhere", "certificate or key"),
        ("rediss://:pass-word@a?ssl_keyfile=/nowhere", "ssl_certfile"),
        ("rediss://:pass-word@a?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_and_explained_at_the_start(url: str, reason: str) -> None:
    """REDIS_URL and what is wrong with it, without its password."""
    with pytest.raises(SettingsError, match=rf"REDIS_URL .*{reason}") as raised:
        load_settings({"REDIS_URL": url})
    assert "pass-word" not in str(raised.value)


def test_the_login_of_the_master_is_not_shown_to_sentinels() -> None:
    """They have their own."""
    redis = redis_client.connect("redis+sentinel://user:pass%2Fword@a,b:1/main")
    pool = redis.connection_pool
    assert isinstance(pool, redis_client._SentinelPool)
    given = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager._clients]
    assert [(one["host"], one["port"]) for one in given] == [("a", 26379), ("b", 1)]
    assert not any("password" in one for one in given)


def test_what_a_url_says_is_read_as_it_was_meant() -> None:
    """Quoted login and names, defaults of ports and database, options converted."""
    plain = parse_redis_url("redis://user:p%40ss@cache?socket_timeout=3&socket_keepalive=no")
    login = {"username": "user", "password": "p@ss"}
    bounds = {"socket_timeout": 3.0, "socket_keepalive": False}
    assert plain.options == {"host": "cache", "port": 6379, "db": 0, **login, **bounds}
    assert plain.tls is None
    watched = parse_redis_url("redis+sentinel://[::1]:7,b/my%20master/2?sentinel_username=u")
    assert (watched.sentinels, watched.master) == ((("::1", 7), ("b", 26379)), "my master")
    assert (watched.options, watched.sentinel_login) == ({"db": 2}, {"username": "u"})
    assert parse_redis_url("unix:///run/redis.sock?db=1").options == {"path": "/run/redis.sock", "db": 1}


def test_commands_are_bounded_however_redis_is_reached() -> None:
    """The pool waits, and no socket is waited for without end."""
    for url in ("redis://a", "rediss://a", "unix:///a", "redis+sentinel://a/m", "rediss+sentinel://a/m"):
        pool = redis_client.connect(url).connection_pool
        assert isinstance(pool, BlockingConnectionPool)
        assert (pool.max_connections, pool.timeout) == (redis_client.POOL_SIZE, redis_client.COMMAND_TIMEOUT_S)
        assert pool.connection_kwargs["socket_timeout"] == redis_client.COMMAND_TIMEOUT_S
        assert pool.connection_kwargs["socket_connect_timeout"] == redis_client.CONNECT_TIMEOUT_S
