"""The rules of `auto` in a real database: their order, their changes, and how every process learns of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from api.gateway import Gateway
from api.routing.rules import RoutingTable, RuleChange, WrongRules
from shared.postgres.database import Database
from shared.settings import Settings
from tests.integration.api.manage.gateway_stub import management_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

    from tests.conftest import Eventually

TOKEN = {"x-internal-token": "geheim"}
CONFIG = "/ai/routing/config"
DEFAULTS = [
    {"task_class": task_class, "source_tier": source_tier, "priority": priority, "enabled": True}
    for task_class in ("chat", "embeddings")
    for source_tier, priority in (("local", 10), ("free_gemini", 20), ("api_key", 30))
]


@pytest.fixture
def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    opened: TestClientProtocol = management_app(settings, database, redis).test_client()
    return opened


def change(**fields: Any) -> RuleChange:
    """Return a change of a rule of chat."""
    return msgspec.convert({"task_class": "chat", **fields}, RuleChange)


def _rules(*changes: tuple[str, dict[str, Any]]) -> bytes:
    return msgspec.json.encode([{"task_class": "chat", "source_tier": tier, **fields} for tier, fields in changes])


@asynccontextmanager
async def gateway(database_url: str, redis_url: str, eventually: Eventually) -> AsyncIterator[Gateway]:
    """Yield one api process without its HTTP side, ready."""
    started = Gateway(Settings(data_dir=Path("nowhere"), database_url=database_url, redis_url=redis_url))
    await started.start()
    try:
        await eventually(lambda: started.schema_failure is None and started.relay.connected)
        yield started
    finally:
        await started.stop()


async def test_without_rows_everything_is_enabled_free_before_paid(database: Database, redis: Redis) -> None:
    """Before the first reading and after it."""
    table = RoutingTable(database, redis)
    assert table.tiers("chat") == ("local", "gemini", "paid")
    await table.start()
    assert table.tiers("embeddings") == ("local", "gemini", "paid")
    await table.stop()


@pytest.mark.parametrize(
    ("changes", "tiers"),
    [
        ([{"source_tier": "api_key", "priority": 1}], ("paid", "local", "gemini")),
        ([{"source_tier": "paid", "priority": 10}], ("local", "paid", "gemini")),
        ([{"source_tier": "gemini", "priority": 10}], ("local", "gemini", "paid")),
        ([{"source_tier": "local", "priority": 30}], ("gemini", "local", "paid")),
        ([{"source_tier": "local", "enabled": False}], ("gemini", "paid")),
        (
            [{"source_tier": "free_gemini", "enabled": False}, {"source_tier": "api_key", "enabled": False}],
            ("local",),
        ),
    ],
)
async def test_the_lowest_priority_is_tried_first(
    database: Database, redis: Redis, changes: list[dict[str, Any]], tiers: tuple[str, ...]
) -> None:
    """Equals in the order local, gemini, paid; disabled ones not at all; the other class as it was."""
    table = RoutingTable(database, redis)
    await table.change([change(**fields) for fields in changes])
    assert table.tiers("chat") == tiers
    assert table.tiers("embeddings") == ("local", "gemini", "paid")


async def test_what_a_change_does_not_name_stays(database: Database, redis: Redis) -> None:
    """Other rules, and the other field of the same rule."""
    table = RoutingTable(database, redis)
    await table.change([change(source_tier="local", priority=77)])
    await table.change([change(source_tier="local", enabled=False)])
    (rule, *others) = await table.rules()
    assert (rule.source_tier, rule.priority, rule.enabled) == ("local", 77, False)
    assert [rule.priority for rule in others] == [20, 30, 10, 20, 30]


async def test_changes_at_the_same_time_cannot_leave_auto_without_a_tier(database: Database, redis: Redis) -> None:
    """Of three that each disable one tier exactly one is refused."""
    tables = [RoutingTable(database, redis) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(
            table.change([change(source_tier=source_tier, enabled=False)])
            for table, source_tier in zip(tables, ("local", "free_gemini", "api_key"), strict=True)
        ),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)] == [WrongRules]
    assert sum(rule.enabled for rule in await tables[0].rules() if rule.task_class == "chat") == 1


async def test_a_change_reaches_the_other_process_at_once(
    database_url: str, redis: Redis, valkey_url: str, eventually: Eventually
) -> None:
    """By the news: long before anybody looks by itself. The one that made it has it when it is done."""
    del redis  # only to have it emptied
    async with (
        gateway(database_url, valkey_url, eventually) as changing,
        gateway(database_url, valkey_url, eventually) as other,
    ):
        await changing.routing_table.change([change(source_tier="api_key", enabled=False)])
        assert changing.routing_table.tiers("chat") == ("local", "gemini")
        await eventually(lambda: other.routing_table.tiers("chat") == ("local", "gemini"))


async def test_the_last_known_rules_hold_while_postgres_is_away(
    database_url: str, database: Database, redis: Redis, eventually: Eventually
) -> None:
    """Through a reading that fails; what changed meanwhile is seen when it is back."""
    async with Database(database_url, acquire_timeout_s=1.0) as own:
        table = RoutingTable(own, redis)
        await table.start()
        await table.change([change(source_tier="local", enabled=False)])
        name = urlsplit(database_url).path.removeprefix("/")
        server = await asyncpg.connect(database_url, database="postgres")
        try:
            await server.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name
            )
            await server.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
            table.invalidate()
            await eventually(lambda: table.is_behind)
            assert table.tiers("chat") == ("gemini", "paid")
            await server.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")
        finally:
            await server.close()
        await database.execute("UPDATE np_claw_routing SET enabled = true")
        table.invalidate()
        await eventually(lambda: table.tiers("chat") == ("local", "gemini", "paid"))
        await table.stop()


async def test_the_api_shows_every_rule_as_a_bare_array(client: TestClientProtocol) -> None:
    """The defaults too, in the words of nSelf's clients."""
    response = await client.get(CONFIG, headers=TOKEN)
    assert (response.status_code, await response.get_json()) == (200, DEFAULTS)


async def test_the_api_takes_back_what_it_gave(client: TestClientProtocol) -> None:
    """A whole array, with something changed in it; the reply is what the next reading says."""
    wanted = [{**rule, "priority": 100 - rule["priority"]} for rule in DEFAULTS]  # type: ignore[operator]  # an int in each
    response = await client.put(CONFIG, json=wanted, headers=TOKEN)
    assert (response.status_code, await response.get_json()) == (200, wanted)
    assert await (await client.get(CONFIG, headers=TOKEN)).get_json() == wanted


async def test_a_kind_of_chat_has_the_rules_of_chat_until_it_has_its_own(
    client: TestClientProtocol, database: Database, redis: Redis
) -> None:
    """What is not said of it stays as it is for chat, also when that changes; kinds without rules are not shown."""
    own = [{"task_class": "code", "source_tier": "paid", "priority": 1}]
    shown = await (await client.put(CONFIG, json=own, headers=TOKEN)).get_json()
    assert shown == [
        *DEFAULTS,
        {"task_class": "code", "source_tier": "local", "priority": 10, "enabled": True},
        {"task_class": "code", "source_tier": "free_gemini", "priority": 20, "enabled": True},
        {"task_class": "code", "source_tier": "api_key", "priority": 1, "enabled": True},
    ]
    table = RoutingTable(database, redis)
    await table.look()
    assert table.tiers("code") == ("paid", "local", "gemini")
    assert table.tiers("translate") == table.tiers("chat") == ("local", "gemini", "paid")
    await client.put(CONFIG, data=_rules(("local", {"enabled": False})), headers=TOKEN)
    await table.look()
    assert (table.tiers("code"), table.tiers("translate")) == (("paid", "gemini"), ("gemini", "paid"))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"[", "JSON"),
        (b"{}", "array"),
        (b"", "array"),
        (b'["chat"]', "$[0]"),
        (b'[{"source_tier": "local", "priority": 1}]', "task_class"),
        (b'[{"task_class": "chat", "priority": 1}]', "source_tier"),
        (b'[{"task_class": "poems", "source_tier": "local", "priority": 1}]', "task_class"),
        (b'[{"task_class": "voice_tts", "source_tier": "local", "priority": 1}]', "task_class"),
        (b'[{"task_class": "chat", "source_tier": "cloud", "priority": 1}]', "source_tier"),
        (b'[{"task_class": "chat", "source_tier": "local", "priority": -1}]', "priority"),
        (b'[{"task_class": "chat", "source_tier": "local", "priority": 101}]', "priority"),
        (b'[{"task_class": "chat", "source_tier": "local", "priority": 1.5}]', "priority"),
        (b'[{"task_class": "chat", "source_tier": "local", "priority": "1"}]', "priority"),
        (b'[{"task_class": "chat", "source_tier": "local", "enabled": 1}]', "enabled"),
        (b'[{"task_class": "chat", "source_tier": "local", "enabled": null}]', "enabled"),
        (b'[{"task_class": "chat", "source_tier": "local"}]', "priority or enabled"),
        (b'[{"task_class": "embeddings", "source_tier": "local", "enabled": false}]', "enabled: Embeddings at local"),
        (b'[{"task_class": "chat", "source_tier": "local", "priority": 1, "cost": 2}]', "cost"),
        (_rules(("api_key", {"priority": 1}), ("paid", {"priority": 2})), "source_tier"),
        (_rules(*((tier, {"enabled": False}) for tier in ("local", "gemini", "paid"))), "enabled"),
    ],
)
async def test_a_wrong_body_is_refused_by_name_and_changes_nothing(
    client: TestClientProtocol, body: bytes, named: str
) -> None:
    """400 with a string for an error."""
    response = await client.put(CONFIG, data=body, headers=TOKEN)
    assert response.status_code == 400
    assert named in (await response.get_json())["error"]
    assert await (await client.get(CONFIG, headers=TOKEN)).get_json() == DEFAULTS


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_only_the_internal_token_opens_it(client: TestClientProtocol, method: str) -> None:
    """A gateway key is 401."""
    response = await client.open(CONFIG, method=method, headers={"authorization": "Bearer sk-nself-x"}, json=[])
    assert response.status_code == 401


async def test_postgres_down_is_503(redis: Redis) -> None:
    """With a string for an error, to read and to change."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    async with Database("postgresql://claw@127.0.0.1:1/claw") as database:
        client = management_app(settings, database, redis).test_client()
        for method in ("GET", "PUT"):
            response = await client.open(CONFIG, method=method, headers=TOKEN, json=[])
            assert response.status_code == 503
            assert isinstance((await response.get_json())["error"], str)
