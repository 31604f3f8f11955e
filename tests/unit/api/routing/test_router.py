"""A request and the live capacity -> candidates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api.http.headers import route_headers
from api.routing.eligibility import RoutingRequest
from api.routing.load import Load, loads_of
from api.routing.router import Router
from shared.errors import (
    ContextTooLong,
    InvalidRequest,
    ModelNotConfigured,
    Overloaded,
    UnknownModel,
    Unsupported,
)
from shared.models.parameters import HOSTED_TOOLS, NATIVE_ONLY
from shared.openai.request import decode_chat
from shared.queue.placement import BudgetLimits, Candidate
from shared.settings import load_settings
from shared.types import BackendInfo, Endpoint, LocalModel, Target, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LATER_MS = 10**15


class FixedCapacity:
    """Backends as workers would have announced them."""

    def __init__(self, *backends: BackendInfo, gone: tuple[Tier, str] | None = None) -> None:
        self._backends = backends
        self._gone = gone

    def was_served(self, tier: Tier, provider: str) -> bool:
        """Return whether a worker of the provider was there before."""
        return self._gone == (tier, provider)

    def backends(self, tier: Tier | None = None) -> Iterator[BackendInfo]:
        """Return the backends of a tier."""
        return (backend for backend in self._backends if tier in {None, backend.tier})

    def local(self, name: str) -> list[tuple[BackendInfo, LocalModel]]:
        """Return the local backends that have a model."""
        return [
            (backend, model)
            for backend in self.backends("local")
            for model in backend.models
            if name in {model.id, model.id.removesuffix(":latest")}
        ]

    def was_local(self, name: str) -> bool:
        """Return whether a local model of this name has just gone."""
        return name == "gpt-oss:gone"

    def load(self, queue: str) -> Load | None:
        """Return what a queue's workers can do."""
        found = [backend for backend in self._backends if backend.queue == queue]
        if not found:
            return None
        return loads_of(found)[queue]


class FixedTable:
    """The tiers of `auto`."""

    def __init__(self, *tiers: Tier) -> None:
        self._tiers = tiers

    def tiers(self, _: Endpoint) -> tuple[Tier, ...]:
        """Return them in order."""
        return self._tiers


def router(*backends: BackendInfo, tiers: tuple[Tier, ...] = ("local", "gemini", "paid"), **environment: str) -> Router:
    """Return a router over fixed backends."""
    settings = load_settings({"CLAW_DATA_DIR": "/nowhere"} | environment)
    return Router(FixedCapacity(*backends), settings, FixedTable(*tiers))  # type: ignore[arg-type]  # a double


def chat(model: str, **request: Any) -> RoutingRequest:
    """Return a chat request."""
    return RoutingRequest(**{"model": model, "endpoint": "chat", "prompt_tokens": 10, **request})


def backend(queue: str, *models: str, **fields: Any) -> BackendInfo:
    """Return a backend of the local tier."""
    return BackendInfo("local", "openai", queue, 4, tuple(LocalModel(model) for model in models), **fields)


def paid(queue: str, provider: str, *models: str) -> BackendInfo:
    """Return a backend of the paid tier."""
    return BackendInfo("paid", provider, queue, 4, tuple(LocalModel(model) for model in models))


def free(*models: str, closed_ms: dict[str, int] | None = None) -> BackendInfo:
    """Return the backend of the Gemini tier."""
    return BackendInfo("gemini", "gemini", "g", 4, tuple(LocalModel(model) for model in models), 0, closed_ms or {})


LOCAL, GEMINI, OPENAI = backend("local", "x"), free("gemini-3.8-flash"), paid("openai", "openai", "gpt-6-luna")


def order(found: list[Candidate]) -> list[tuple[str, str]]:
    """Queue and model of each candidate, by rank."""
    return [(each.target.queue, each.target.model) for each in sorted(found, key=lambda each: each.rank)]


def targets(model: str, *backends: BackendInfo, auto_model: str | None = None) -> set[Target]:
    """Return where a request may go; several queues of a tier come in any order."""
    environment: dict[str, Any] = {"CLAW_AUTO_LOCAL_MODEL": auto_model} if auto_model else {}
    return {candidate.target for candidate in router(*backends, **environment).route(chat(model))}


@pytest.mark.parametrize("name", ["auto", "local"])
def test_auto_and_local_take_what_is_there(name: str) -> None:
    """The first model of each upstream, once for each queue."""
    found = targets(name, backend("a", "x", "y"), backend("a", "x", "y"), backend("b", "z"))
    assert found == {Target("local", "a", "x"), Target("local", "b", "z")}


def test_auto_goes_through_the_tiers_and_comes_back_to_the_local_one() -> None:
    """Local while the wait is short, then the free tier, then the paid one, then local however long it takes."""
    found = router(LOCAL, GEMINI, OPENAI, CLAW_LOCAL_MAX_WAIT_S="7").route(chat("auto"))
    assert order(found) == [
        ("local", "x"), ("g", "gemini-3.8-flash"), ("openai", "gpt-6-luna"), ("local", "x"),
    ]  # fmt: skip
    assert [candidate.most_wait_ms for candidate in sorted(found, key=lambda each: each.rank)] == [7000, 0, 0, 0]


def test_auto_alone_in_the_local_tier_waits_for_as_long_as_it_takes() -> None:
    """Without another tier there is no bound on the wait."""
    (candidate,) = router(LOCAL).route(chat("auto"))
    assert (candidate.target, candidate.most_wait_ms) == (Target("local", "local", "x"), 0)


def test_the_operator_decides_on_the_tiers_of_auto_and_their_order() -> None:
    """A tier that is not enabled is not used."""
    assert order(router(LOCAL, GEMINI, OPENAI, tiers=("paid", "gemini")).route(chat("auto"))) == [
        ("openai", "gpt-6-luna"), ("g", "gemini-3.8-flash"),
    ]  # fmt: skip


def test_the_operator_decides_on_the_models_of_auto() -> None:
    """CLAW_AUTO_GEMINI_MODEL and CLAW_AUTO_PAID_MODEL, aliases resolved; a backend of another provider does not fit."""
    claude = paid("anthropic", "anthropic")
    choice: dict[str, Any] = {"CLAW_AUTO_GEMINI_MODEL": "gemini-pro-9", "CLAW_AUTO_PAID_MODEL": "claude-3-5-sonnet"}
    assert order(router(GEMINI, OPENAI, claude, **choice).route(chat("auto"))) == [
        ("g", "gemini-pro-9"), ("anthropic", "claude-sonnet-5"),
    ]  # fmt: skip


def test_auto_prefers_a_paid_model_that_its_api_lists() -> None:
    """Of the catalogue's defaults; two that are listed come one after the other, as their quotas are their own."""
    backends = (paid("openai", "openai", "gpt-4.1"), paid("anthropic", "anthropic", "claude-haiku-4-5"))
    assert order(router(*backends).route(chat("auto"))) == [("anthropic", "claude-haiku-4-5")]
    both = free("gemini-3.5-flash-lite", "gemini-3.8-flash")
    assert order(router(both).route(chat("auto"))) == [("g", "gemini-3.8-flash"), ("g", "gemini-3.5-flash-lite")]
    unlisted = router(paid("openai", "openai")).route(chat("auto"))
    assert order(unlisted) == [("openai", "gpt-6-luna"), ("openai", "gpt-5.4-mini")]


def test_auto_skips_what_cannot_do_it_and_a_forced_name_is_refused() -> None:
    """An image goes past a blind local model; asked for by name that is a 400 that names the place."""
    blind = BackendInfo("local", "ollama", "local", 4, (LocalModel("x", cannot=("images",)),))
    needs = {"images": "messages[0].content[1]"}
    assert order(router(blind, GEMINI).route(chat("auto", needs=needs))) == [("g", "gemini-3.8-flash")]
    for name in ("x", "local"):
        with pytest.raises(Unsupported) as raised:
            router(blind, GEMINI).route(chat(name, needs=needs))
        assert (raised.value.status, raised.value.param) == (400, "messages[0].content[1]")
    with pytest.raises(Unsupported):
        router(blind).route(chat("auto", needs=needs))


def test_another_model_in_the_local_tier_that_can_do_it_goes_before_the_next_tier() -> None:
    """Even where one that cannot is the operator's choice: free before paid."""
    models = (LocalModel("x", cannot=("images",)), LocalModel("seer"))
    both = BackendInfo("local", "ollama", "local", 4, models)
    found = router(both, GEMINI, CLAW_AUTO_LOCAL_MODEL="x").route(chat("auto", needs={"images": "messages"}))
    assert order(found)[0] == ("local", "seer")


def test_a_parameter_that_a_provider_does_not_know_skips_its_tier() -> None:
    """`verbosity` exists at OpenAI's API only."""
    ollama, openai = (
        BackendInfo("local", "ollama", "local", 4, (LocalModel("x"),)),
        paid("openai", "openai", "gpt-6-luna", "gpt-5.4-mini"),
    )
    found = router(ollama, GEMINI, openai).route(chat("auto", needs={"verbosity": "verbosity"}))
    assert order(found) == [("openai", "gpt-6-luna"), ("openai", "gpt-5.4-mini")]


def test_a_prompt_that_is_probably_too_long_goes_elsewhere_first() -> None:
    """One that is certainly too long is not tried; asked for by name it is a 400."""
    small = BackendInfo("local", "openai", "local", 4, (LocalModel("x", context_length=1000),))
    assert order(router(small, GEMINI).route(chat("auto", prompt_tokens=1500)))[0] == ("g", "gemini-3.8-flash")
    assert ("local", "x") in order(router(small, GEMINI).route(chat("auto", prompt_tokens=1500)))
    assert order(router(small, GEMINI).route(chat("auto", prompt_tokens=2500))) == [("g", "gemini-3.8-flash")]
    with pytest.raises(ContextTooLong):
        router(small, GEMINI).route(chat("local", prompt_tokens=2500))
    extensible = LocalModel("x", context_length=1000, can_extend_context=True)
    assert router(BackendInfo("local", "ollama", "local", 4, (extensible,))).route(chat("local", prompt_tokens=2500)), (
        "num_ctx"
    )


def test_a_loaded_model_is_preferred() -> None:
    """On one host the loaded one is taken; of two hosts with the model the other one is that much further away."""
    cold, warm = LocalModel("x", loads_on_request=True), LocalModel("y", loads_on_request=True, is_loaded=True)
    assert order(router(BackendInfo("local", "ollama", "a", 4, (cold, warm))).route(chat("auto"))) == [("a", "y")]
    hosts = (
        BackendInfo("local", "ollama", "a", 4, (cold,)),
        BackendInfo("local", "ollama", "b", 4, (LocalModel("x", is_loaded=True),)),
    )
    extra = {candidate.target.queue: candidate.extra_ms for candidate in router(*hosts).route(chat("x"))}
    assert extra["a"] > extra["b"] == 0


def test_hosts_are_compared_by_their_speed_and_not_by_what_they_were_asked() -> None:
    """The slow one had short answers lately, the fast one long ones: both get their mean of 150 tokens."""
    slow = backend("slow", "x", service_ms=5_000, ms_per_token=100.0)
    fast = backend("fast", "x", service_ms=10_000, ms_per_token=40.0)
    new = backend("new", "x", service_ms=7_000)
    paying = msgspec.structs.replace(OPENAI, service_ms=9_000, ms_per_token=10.0)
    asking = router(slow, fast, new, paying)
    found = {each.target.queue: each.service_ms for each in asking.live(asking.route(chat("auto")))}
    assert found == {"slow": 15_000, "fast": 6_000, "new": 7_000, "openai": 9_000}
    alone = router(slow)
    assert [each.service_ms for each in alone.live(alone.route(chat("x")))] == [5_000]


def test_what_has_no_open_account_comes_last_but_stays() -> None:
    """The only backend that can serve is always tried."""
    shut = free("gemini-3.8-flash", closed_ms={"gemini-3.8-flash": LATER_MS})
    found = router(shut, OPENAI)
    assert [each.target.queue for each in found.live(found.route(chat("auto")))] == ["openai", "g"]
    reopened = free("gemini-3.8-flash", closed_ms={"gemini-3.8-flash": 1})
    found = router(reopened, OPENAI)
    assert [each.target.queue for each in found.live(found.route(chat("auto")))] == ["g", "openai"]
    forced = router(shut)
    assert [each.target.queue for each in forced.live(forced.route(chat("gemini-3.8-flash")))] == ["g"]


def test_what_no_worker_serves_any_more_is_left_out() -> None:
    """Its worker may have gone since the request came."""
    candidates = router(LOCAL, GEMINI).route(chat("auto"))
    assert {each.target.queue for each in router(LOCAL).live(candidates)} == {"local"}


def test_a_budget_is_reserved_for_what_the_request_may_cost() -> None:
    """Prompt and the most output, at list prices, for each choice; nothing where there is no budget."""
    budget = BudgetLimits(all_nano_usd=10**9)
    (candidate,) = router(OPENAI).route(
        chat("gpt-4.1", limits=budget, prompt_tokens=1000, output_tokens=100, choices=2)
    )
    assert candidate.cost_nano_usd == (1000 * 2 + 200 * 8) * 1000
    (unlimited,) = router(OPENAI).route(chat("gpt-4.1"))
    assert unlimited.cost_nano_usd == 0
    (undecided,) = router(OPENAI).route(chat("gpt-4.1", limits=budget, prompt_tokens=0))
    assert undecided.cost_nano_usd == 32_768 * 8 * 1000


GROQ_MODELS = (LocalModel("groq/qwen/qwen3-32b"), LocalModel("groq/e5-embed", endpoints=("embeddings",)))
GROQ = BackendInfo("paid", "groq", "groq", 4, GROQ_MODELS)


def with_groq(tmp_path: Path, *backends: BackendInfo, auto_model: str = "") -> Router:
    """Return a router with prices for models of a further paid API."""
    prices = tmp_path / "prices.toml"
    names = ("groq/qwen/qwen3-32b", "groq/e5-embed", "groq/priced-only", "o3api/x")
    prices.write_text("".join(f'[models."{name}"]\nprompt_usd = 1.0\n' for name in names))
    return router(*backends, CLAW_CATALOGUE=str(prices), CLAW_AUTO_PAID_MODEL=auto_model)


def test_models_of_a_further_paid_api_have_its_name_before_theirs(tmp_path: Path) -> None:
    """Also where that looks like a family's; a model that embeds does not chat."""
    found = with_groq(tmp_path, OPENAI, GROQ, paid("o3api", "o3api", "o3api/x"))
    for queue, model in (("groq", "groq/qwen/qwen3-32b"), ("o3api", "o3api/x")):
        assert [each.target for each in found.route(chat(model))] == [Target("paid", queue, model)]
    with pytest.raises(InvalidRequest) as raised:
        found.route(chat("groq/e5-embed"))
    assert raised.value.code == "wrong_endpoint"
    request = RoutingRequest(model="groq/e5-embed", endpoint="embeddings", prompt_tokens=1)
    assert [each.target.model for each in found.route(request)] == ["groq/e5-embed"]


def test_a_local_name_wins_over_a_further_paid_apis(tmp_path: Path) -> None:
    """As over every pattern."""
    found = with_groq(tmp_path, GROQ, backend("a", "groq/qwen/qwen3-32b"))
    assert [each.target.tier for each in found.route(chat("groq/qwen/qwen3-32b"))] == ["local"]


def test_auto_and_budgets_take_further_paid_apis_like_any(tmp_path: Path) -> None:
    """Where the operator names one of their models."""
    budget = BudgetLimits(all_nano_usd=10**12)
    found = with_groq(tmp_path, GROQ, auto_model="groq/qwen/qwen3-32b")
    (candidate,) = found.route(chat("auto", limits=budget, prompt_tokens=1000))
    assert (candidate.target.queue, candidate.cost_nano_usd) == ("groq", 1000 * 1000)


def test_what_a_further_paid_api_does_not_offer_is_refused_with_the_reason(tmp_path: Path) -> None:
    """No price, not in its list, not there now, no such API at all."""
    found = with_groq(tmp_path, GROQ)
    with pytest.raises(ModelNotConfigured, match="CLAW_CATALOGUE") as raised:
        found.route(chat("groq/unpriced"))
    assert raised.value.code == "model_price_unknown"
    with pytest.raises(UnknownModel, match="'groq' does not offer"):
        found.route(chat("groq/priced-only"))
    with pytest.raises(Overloaded):
        with_groq(tmp_path, paid("groq", "groq")).route(chat("groq/priced-only"))
    with pytest.raises(UnknownModel, match="does not exist"):
        with_groq(tmp_path, OPENAI).route(chat("groq/priced-only"))


def test_what_an_api_says_of_a_model_goes_before_the_catalogue() -> None:
    """The catalogue denies GPT-4.1 an effort: its API may know better, and may deny more."""
    needs = {"reasoning_effort": "reasoning_effort"}
    with pytest.raises(Unsupported):
        router(OPENAI).route(chat("gpt-4.1", needs=needs))
    can, cannot = LocalModel("gpt-4.1", can=("reasoning_effort",)), LocalModel("gpt-4.1", cannot=("images",))
    assert router(BackendInfo("paid", "openai", "o", 4, (can,))).route(chat("gpt-4.1", needs=needs))
    with pytest.raises(Unsupported):
        router(BackendInfo("paid", "openai", "o", 4, (cannot,))).route(chat("gpt-4.1", needs={"images": "messages"}))


def test_a_paid_model_without_a_price_is_refused(tmp_path: Any) -> None:
    """With a budget or without, since its cost would be a guess; the operator's price lets it through."""
    listed = BackendInfo("paid", "openai", "o", 4, (LocalModel("gpt-99"),))
    for limits in (BudgetLimits(all_nano_usd=1), BudgetLimits()):
        with pytest.raises(ModelNotConfigured, match="CLAW_CATALOGUE") as raised:
            router(listed).route(chat("gpt-99", limits=limits))
        assert (raised.value.code, raised.value.param) == ("model_price_unknown", "model")
    with pytest.raises(UnknownModel, match="'openai' does not offer the model 'gpt-98'"):
        router(listed).route(chat("gpt-98"))
    file = tmp_path / "catalogue.toml"
    file.write_text("[models.gpt-99]\nprompt_usd = 1.0")
    assert router(OPENAI, CLAW_CATALOGUE=str(file)).route(chat("gpt-99"))


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("gpt-4o", "gpt-5.4-mini"),
        ("openai/gpt-4.1", "gpt-4.1"),
        ("openai/gpt-4o", "gpt-5.4-mini"),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", "ft:gpt-4o-mini-2024-07-18:acme::x"),
        ("models/gemini-3.8-flash", "gemini-3.8-flash"),
        ("google/gemini-1.5-flash", "gemini-3.8-flash"),
        ("gemma-4-31b-it", "gemma-4-31b-it"),
        ("google/gemma-3-27b-it", "gemma-3-27b-it"),
        ("chat-latest", "chat-latest"),
        ("openai/chat-latest", "chat-latest"),
        ("anthropic/claude-opus-5-5", "claude-opus-5-5"),
    ],
)
def test_every_way_to_name_a_model_reaches_it(name: str, served: str) -> None:
    """With its maker before it, as Google's list has it, tuned or open."""
    backends = (OPENAI, GEMINI, paid("anthropic", "anthropic"))
    assert {target.model for target in targets(name, *backends)} == {served}


def test_a_makers_name_stands_before_its_own_models_alone() -> None:
    """Others are no names."""
    for name in ("google/gpt-4.1", "acme/gpt-4.1"):
        with pytest.raises(UnknownModel):
            targets(name, OPENAI)


def test_a_model_that_takes_tools_over_responses_only_serves_them() -> None:
    """But not what that API has no place for: asked for besides it is a 400, unless the model does not reason."""
    openai = paid("openai", "openai", "gpt-6-luna", "gpt-5.4-mini")
    tools = {"tools": "tools"}
    assert order(router(openai).route(chat("auto", needs=tools, has_tools=True)))[0] == ("openai", "gpt-6-luna")
    more = {**tools, "audio": "messages[0].content[1]"}
    for name in ("gpt-6-luna", "gpt-6.2-sol"):
        assert router(openai).route(chat(name, needs=tools, has_tools=True))
        with pytest.raises(Unsupported) as raised:
            router(openai).route(chat(name, needs={**tools, "stop": "stop"}, has_tools=True))
        assert raised.value.param == "stop"
        with pytest.raises(Unsupported) as raised:
            router(openai).route(chat(name, needs=more, has_tools=True))
        assert raised.value.param == "messages[0].content[1]"
    hinted = {**tools, "seed": "seed"}
    assert router(openai).route(chat("gpt-6-luna", needs=hinted, has_tools=True))


def test_what_only_openais_responses_api_takes_goes_there_alone() -> None:
    """By name it is a 400 elsewhere; with a budget no tool that OpenAI runs is asked for: nothing would bound it."""
    openai, claude = paid("openai", "openai", "gpt-6-luna"), paid("anthropic", "anthropic", "claude-haiku-5-5")
    local = backend("llama", "llama")
    native = {NATIVE_ONLY: "tools[1].type", HOSTED_TOOLS: "tools[1].type"}
    asked = chat("auto", needs=native, has_tools=True)
    assert order(router(openai, claude, local, GEMINI).route(asked)) == [("openai", "gpt-6-luna")]
    for name in ("claude-haiku-5-5", "llama"):
        with pytest.raises(Unsupported) as raised:
            router(openai, claude, local).route(chat(name, needs=native))
        assert raised.value.param == "tools[1].type"
    limited = chat("gpt-6-luna", needs=native, limits=BudgetLimits(all_nano_usd=10**12))
    with pytest.raises(Unsupported) as raised:
        router(openai).route(limited)
    assert (raised.value.code, raised.value.param) == ("tool_price_unknown", "tools[1].type")
    file = {NATIVE_ONLY: "input[0].content[0].file_id"}
    assert router(openai).route(chat("gpt-6-luna", needs=file, limits=BudgetLimits(all_nano_usd=10**12)))


def test_workers_of_an_earlier_version_get_no_request_that_they_would_misread() -> None:
    """They say nothing of dialects, and may have a queue together with newer ones."""
    old, new = backend("a", "x"), backend("b", "x", dialects=("chat", "responses"))
    asked = chat("x", dialect="responses")
    assert [candidate.target.queue for candidate in router(old, new).route(asked)] == ["b"]
    shared = msgspec.structs.replace(new, queue="a")
    for backends in ((old,), (old, shared), (shared, old)):
        assert router(*backends).route(chat("x"))
        with pytest.raises(Overloaded) as raised:
            router(*backends).route(asked)
        assert raised.value.code == "worker_outdated"
    announced = msgspec.json.encode(new).replace(b',"dialects":["chat","responses"]', b"")
    assert msgspec.json.decode(announced, type=BackendInfo).dialects == ("chat",)


def test_the_configured_model_is_preferred_and_its_absence_survived() -> None:
    """CLAW_AUTO_LOCAL_MODEL, where some upstream has it."""
    both = (backend("a", "x"), backend("b", "z", "y"))
    assert targets("auto", *both, auto_model="y") == {Target("local", "b", "y")}
    assert targets("auto", *both, auto_model="gone") == {Target("local", "a", "x"), Target("local", "b", "z")}


def test_a_live_local_name_wins_over_a_pattern() -> None:
    """`gpt-oss:20b` and `o1-local` stay local when a local server has them."""
    assert targets("gpt-oss:20b", backend("a", "gpt-oss:20b")) == {Target("local", "a", "gpt-oss:20b")}
    assert targets("gpt-4.1", backend("a", "gpt-4.1"), OPENAI) == {Target("local", "a", "gpt-4.1")}


def test_a_local_name_whose_server_restarts_goes_to_nobody_else() -> None:
    """503 for now: neither 404, nor to the paid API whose names look alike."""
    with pytest.raises(Overloaded) as raised:
        targets("gpt-oss:gone", OPENAI)
    assert (raised.value.code, raised.value.status) == ("no_local_model", 503)


def test_an_alias_may_lead_anywhere(tmp_path: Any) -> None:
    """To a local model, to `auto`; a live local name wins over it."""
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text('[aliases]\n"gpt-4" = "x"\n"gpt-3.5-turbo" = "auto"\n')
    found = router(LOCAL, GEMINI, CLAW_CATALOGUE=str(catalogue))
    assert order(found.route(chat("gpt-4"))) == [("local", "x")]
    assert order(found.route(chat("gpt-3.5-turbo"))) == [("local", "x"), ("g", "gemini-3.8-flash"), ("local", "x")]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("gpt-4.1", "OPENAI_API_KEY"),
        ("o3-mini", "OPENAI_API_KEY"),
        ("claude-3-5-sonnet", "ANTHROPIC_API_KEY"),
        ("gemini-1.5-flash", "GEMINI_API_KEY"),
    ],
)
def test_a_name_without_its_credential_says_which_variable_is_missing(name: str, variable: str) -> None:
    """The page's names are always known."""
    with pytest.raises(ModelNotConfigured, match=variable) as raised:
        targets(name, backend("a", "x"))
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, "model_not_configured", "model")


def test_a_name_that_forces_a_tier_goes_to_its_provider_alone() -> None:
    """Listed there or not, by its present name where it is an alias; other providers' queues are left alone."""
    backends = (backend("a", "x"), paid("openai", "openai"), paid("anthropic", "anthropic"))
    assert targets("gpt-4.1", *backends) == {Target("paid", "openai", "gpt-4.1")}
    assert targets("claude-3-5-sonnet", *backends) == {Target("paid", "anthropic", "claude-sonnet-5")}


def embeddings(model: str, *backends: BackendInfo, fallback: str = "true") -> set[Target]:
    """Return where an embeddings request may go."""
    request = RoutingRequest(model=model, endpoint="embeddings", prompt_tokens=1)
    return {candidate.target for candidate in router(*backends, CLAW_EMBEDDINGS_FALLBACK=fallback).route(request)}


EMBEDDER = BackendInfo("local", "ollama", "o", 4, (LocalModel("nomic-embed-text:latest", endpoints=("embeddings",)),))


def test_the_documented_embedding_model_is_local_where_it_is_there() -> None:
    """With or without Ollama's tag, with or without a paid key; `auto` does not wander into other vector spaces."""
    backends = (EMBEDDER, paid("openai", "openai"))
    for name in ("nomic-embed-text", "nomic-embed-text:latest", "local", "auto"):
        assert embeddings(name, *backends) == {Target("local", "o", "nomic-embed-text:latest")}


def test_the_documented_embedding_model_falls_back_to_openais() -> None:
    """Unless the fallback is forbidden, since vectors of two models in one index ruin it."""
    openai = paid("openai", "openai")
    assert embeddings("nomic-embed-text", openai) == {Target("paid", "openai", "text-embedding-3-small")}
    for backends, fallback in (((openai,), "false"), ((), "true")):
        with pytest.raises(ModelNotConfigured, match="OPENAI_API_KEY"):
            embeddings("nomic-embed-text", *backends, fallback=fallback)


E5 = BackendInfo("local", "openai", "e", 4, (LocalModel("e5-small", endpoints=("embeddings",)),))


def test_an_embedding_model_that_is_not_here_is_refused_with_those_that_are() -> None:
    """Whatever the name: the page's on a new machine, one of a family without a key, a word."""
    openai = paid("openai", "openai", "text-embedding-3-small", "gpt-6-luna")
    sayings = (
        ((), "No model embeds here now"),
        ((E5,), "'local' works here: it is e5-small."),
        ((E5, openai), "'local' works here: it is e5-small; so do text-embedding-3-small."),
        ((openai,), "These embed here: text-embedding-3-small."),
    )
    for backends, saying in sayings:
        for name, error in (("nomic-embed-text", ModelNotConfigured), ("word", UnknownModel)):
            with pytest.raises(error, match=re.escape(saying)):
                embeddings(name, *backends, fallback="false")
    with pytest.raises(ModelNotConfigured, match=re.escape("'local' works here: it is e5-small.")):
        embeddings("text-embedding-3-small", E5)


def test_a_model_that_embeds_does_not_chat() -> None:
    """And the other way round: 400, naming the parameter."""
    with pytest.raises(InvalidRequest) as raised:
        targets("nomic-embed-text", EMBEDDER)
    assert raised.value.param == "model"
    chats = BackendInfo("local", "openai", "a", 4, (LocalModel("x", endpoints=("chat",)),))
    with pytest.raises(InvalidRequest):
        embeddings("x", chats)
    for name, served in (("gpt-4.1", paid("openai", "openai")), ("gemini-embedding-001", GEMINI)):
        with pytest.raises(InvalidRequest) as raised:
            embeddings(name, served)
        assert raised.value.code == "wrong_endpoint"


@pytest.mark.parametrize("name", ["nonsense", "olmo2", "Auto", "gpt4"])
def test_an_unknown_name_is_404(name: str) -> None:
    """Names are exact, and `olmo2` is no model of OpenAI's."""
    with pytest.raises(UnknownModel) as raised:
        targets(name, backend("a", "x"))
    assert (raised.value.status, raised.value.param) == (404, "model")


@pytest.mark.parametrize("name", ["local", "auto"])
def test_no_model_that_embeds_is_a_400_that_says_what_to_do(name: str) -> None:
    """It will not pass by itself, as long as there are local models and none of them embeds."""
    chats = BackendInfo("local", "ollama", "a", 4, (LocalModel("x", endpoints=("chat",)),))
    with pytest.raises(ModelNotConfigured, match="nomic-embed-text"):
        embeddings(name, chats, paid("openai", "openai"))


@pytest.mark.parametrize("name", ["local", "auto"])
def test_local_without_a_server_is_503_for_now(name: str) -> None:
    """It may come back."""
    with pytest.raises(Overloaded) as raised:
        targets(name, backend("a"))
    assert raised.value.code == "no_local_model"
    assert raised.value.retry_after_s


def test_a_provider_whose_worker_is_away_is_configured_all_the_same() -> None:
    """503 for now, not 400 for good."""
    capacity = FixedCapacity(gone=("paid", "openai"))
    settings = load_settings({"CLAW_DATA_DIR": "/nowhere"})
    with pytest.raises(Overloaded) as raised:
        Router(capacity, settings, FixedTable()).route(chat("gpt-4.1"))  # type: ignore[arg-type]  # a double
    assert raised.value.code == "no_worker"


def test_what_was_left_out_is_told_by_who_served() -> None:
    """A Claude whose sampling is fixed is not told a temperature; an operator who is strict has it refused."""
    asked = decode_chat(b'{"model":"x","messages":[{"role":"user","content":"y"}],"temperature":0.7,"stop":"z"}')
    claude = paid("anthropic", "anthropic")
    found = router(claude, OPENAI)
    assert found.omitted(asked, Target("paid", "anthropic", "claude-sonnet-5")) == ("temperature",)
    assert found.omitted(asked, Target("paid", "anthropic", "claude-haiku-4-5")) == ()
    assert found.omitted(asked, Target("paid", "openai", "gpt-4.1")) == ()
    assert route_headers(Target("paid", "q", "m"), 1, ("seed", "top_p"))["x-nself-omitted"] == "seed, top_p"
    assert "x-nself-omitted" not in route_headers(Target("paid", "q", "m"), 1)
    needs = {"temperature": "temperature"}
    assert router(claude).route(chat("claude-3-5-sonnet", needs=needs))
    with pytest.raises(Unsupported) as raised:
        router(claude, CLAW_STRICT_PARAMETERS="true").route(chat("claude-3-5-sonnet", needs=needs))
    assert raised.value.param == "temperature"
