"""A request and the live capacity -> the candidates that may serve it, best first.

`auto` goes through the tiers in the order of the routing table: its own hardware while the expected wait is short, a
free account while it has quota left, a paid API while the budget allows. Every other name is bound to one tier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.routing.eligibility import Eligibility, RoutingRequest
from api.routing.live_backends import bounded, knowing, rank_live
from api.routing.offers import (
    RETRY_AFTER_S,
    embedding_models,
    nobody,
    offer_of,
    paid_api_of,
    paid_api_offers,
    provider_of,
)
from api.routing.shortlist import shortlist
from shared.errors import CallerError, ModelNotConfigured, Overloaded, UnknownModel
from shared.models.catalogue import AUTO, FALLBACK_EMBEDDING, LOCAL, LOCAL_EMBEDDING
from shared.models.providers import family_of
from shared.queue.placement import Candidate
from shared.types import BackendInfo, LocalModel, Target, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.routing.live_backends import Capacity
    from api.routing.rules import RoutingTable
    from api.routing.shortlist import Shortlist
    from shared.openai.request import ChatBody
    from shared.settings import Settings

_LISTED: Final = "GET /v1/models lists what there is."
CHAT: Final = "chat"
TIER_STEP: Final = 100  # more than a tier has names, whose places are added too
LAST_RESORT: Final = 20_000  # behind `TOO_LONG`, before `CLOSED`
"""Added to a rank: a tier's place in the order, what is taken only for want of anything else."""


class Router:
    """Finds the candidates of requests.

    Args:
        capacity: what can be served now.
        settings: what `auto` uses, and for how long a local wait is acceptable.
        table: which tiers `auto` may use, in which order.
    """

    def __init__(self, capacity: Capacity, settings: Settings, table: RoutingTable) -> None:
        self._capacity = capacity
        self._settings = settings
        self._catalogue = settings.catalogue
        self._eligibility = Eligibility(settings)
        self._table = table

    def route(self, request: RoutingRequest) -> list[Candidate]:
        """Return where a request may go, as `live` does: at least one. A live local model's name wins over a pattern.

        Raises:
            InvalidRequest: the model cannot do what is asked of it; `param` names it (`Unsupported`).
            ContextTooLong: the prompt is far longer than the model's context.
            ModelNotConfigured: the name is known, but the server lacks its credential, or its price.
            UnknownModel: nobody has such a model.
            Overloaded: what could serve it is not there now.
        """
        found = self.live(self._candidates(request))
        if not found:
            raise Overloaded("The workers for this request have just gone.", code="no_worker", retry_after_s=1)
        return found if request.dialect == CHAT else knowing(found, request.dialect, self._capacity.load)

    def live(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return those of the candidates that a worker serves now, by rank, as busy and as open as they are now.

        They may come from an earlier call: only what does not change is taken from them.
        """
        return rank_live(candidates, self._capacity.load)

    def shortlist(self, candidates: Sequence[Candidate]) -> Shortlist | None:
        """Return the live candidates that are expected to begin first; None where they are few."""
        return shortlist(candidates, self._capacity.busy)

    @property
    def redis_fault(self) -> str:
        """Return what Redis refuses a worker, so that it serves nothing; empty where it refuses none."""
        return self._capacity.redis_fault

    def note_busy(self, candidates: Iterable[Candidate]) -> None:
        """Note that none of the candidates can begin at once now."""
        self._capacity.note_busy(candidates)

    def has(self, provider: str) -> bool:
        """Return whether an API of others is there now."""
        return any(backend.provider == provider for backend in self._capacity.backends())

    def omitted(self, body: ChatBody, target: Target) -> tuple[str, ...]:
        """Return the parameters of a request that its backend was not sent, since the model does not take them."""
        for backend in self._capacity.backends(target.tier):
            if backend.queue == target.queue:
                return self._eligibility.omitted(body, backend, target.model)
        return ()

    def contexts(self, candidates: Iterable[Candidate]) -> list[int]:
        """Return how many tokens the models of candidates take, as far as backends that list them say so."""
        of, targets = self._eligibility.longest_context, {each.target for each in candidates}
        offers = ((backend, model) for backend in self._capacity.backends() for model in backend.models)
        lengths = (of(*each) for each in offers if Target(each[0].tier, each[0].queue, each[1].id) in targets)
        return [length for length in lengths if length is not None]

    # --- names and tiers ---

    def _candidates(self, request: RoutingRequest) -> list[Candidate]:
        # Before aliases and patterns: a live local model may be called like either.
        offered = self._capacity.local(request.model)
        name = request.model if offered else self._catalogue.resolve(request.model)
        if name == AUTO:
            return self._auto(request)
        if name == LOCAL:
            return self._local(request)
        if offered or (offered := self._capacity.local(name)):
            return self._able(request, offered)
        if self._capacity.was_local(name):
            # Also where it looks like another tier's: `gpt-oss:20b` stays at the local tier.
            raise Overloaded(
                f"The local model '{request.model}' cannot be reached now.",
                code="no_local_model",
                retry_after_s=RETRY_AFTER_S,
            )
        if name.removesuffix(":latest") == LOCAL_EMBEDDING and request.endpoint == "embeddings":
            return self._embedding_fallback(request)
        return self._forced(request, name)

    def _auto(self, request: RoutingRequest) -> list[Candidate]:
        tiers = request.bounds.allowed_of(self._table.tiers(request.task_class or request.endpoint))
        found: list[Candidate] = []
        refusal: CallerError | None = None
        for place, tier in enumerate(tiers):
            try:
                of_tier = self._of_tier(request, tier)
            except CallerError as error:
                refusal = refusal or error
                continue
            found += [_behind(candidate, place * TIER_STEP) for candidate in of_tier]
        if found:
            # With one tier there is nowhere to go on to, so a long wait is no reason to leave.
            return (
                bounded(found, self._settings.local_max_wait_s, LAST_RESORT)
                if len({candidate.target.tier for candidate in found}) > 1
                else found
            )
        if refusal is not None:
            raise refusal
        raise nobody(request.endpoint, self._capacity, request.bounds.nobody)

    def _local(self, request: RoutingRequest) -> list[Candidate]:
        found = self._local_choice(request)
        if not found:
            raise nobody(
                request.endpoint,
                self._capacity,
                f"No local model can be reached now, so '{request.model}' cannot be served.",
            )
        return found

    def _of_tier(self, request: RoutingRequest, tier: Tier) -> list[Candidate]:
        """Return what `auto` uses in a tier; nothing where the tier is not there."""
        if tier == "local":
            return self._local_choice(request)
        if request.endpoint == "embeddings":
            # Never by itself: vectors of two models do not compare. `nomic-embed-text` may fall back.
            return []
        named = self._settings.auto_gemini_model if tier == "gemini" else self._settings.auto_paid_model
        names = (named,) if named else getattr(self._catalogue.auto, tier)
        return self._in_order(request, tier, names)

    def _in_order(self, request: RoutingRequest, tier: Tier, names: Iterable[str]) -> list[Candidate]:
        """Return the models of a tier that has them, one after the other; those that their API lists, if it lists any.

        Raises:
            CallerError: the tier is there, but none of them can do what is asked.
        """
        options = [
            (place, backend, offer_of(backend, model))
            for place, model in enumerate(map(self._catalogue.resolve, names))
            for backend in self._backends_for(model, tier)
        ]
        listed = [option for option in options if any(option[2].id == model.id for model in option[1].models)]
        found: list[Candidate] = []
        refusal: CallerError | None = None
        # An API whose list is not known yet lists nothing: then every name is tried.
        for place, backend, model in listed or options:
            try:
                found += [_behind(candidate, place) for candidate in self._able(request, [(backend, model)])]
            except CallerError as error:
                refusal = refusal or error
        if not found and refusal is not None:
            raise refusal
        return list({candidate.target: candidate for candidate in found}.values())

    def _local_choice(self, request: RoutingRequest) -> list[Candidate]:
        """Choose the local model that is meant, else on each backend one that can serve, a loaded one first.

        Raises:
            CallerError: there are models, but none can do it.
        """
        wanted = self._settings.auto_local_model if request.endpoint == "chat" else LOCAL_EMBEDDING
        found: list[Candidate] = []
        try:
            if wanted and (found := self._able(request, self._capacity.local(wanted))):
                return found
        except CallerError as error:
            refusal: CallerError | None = error
        else:
            refusal = None
        for backend in self._capacity.backends("local"):
            models = [(backend, model) for model in backend.models if request.endpoint in model.endpoints]
            # Loading takes seconds, and may push out the model that others are using.
            models.sort(key=lambda option: not option[1].is_loaded)
            try:
                found += self._able(request, models)
            except CallerError as error:
                refusal = refusal or error
        if not found and refusal is not None:
            raise refusal
        return list({candidate.target.queue: candidate for candidate in found}.values())

    def _forced(self, request: RoutingRequest, model: str) -> list[Candidate]:
        """Return the candidates of a name that forces a tier other than the local one."""
        family, name = family_of(model), request.model
        if (api := paid_api_of(model, self._capacity)) is not None:
            return self._able(request, paid_api_offers(model, api, self._capacity, self._catalogue))
        if family is None:
            here = self._embedding_models() if request.endpoint == "embeddings" else _LISTED
            raise UnknownModel(f"The model '{name}' does not exist. {here}", param="model")
        backends = self._backends_for(model, family.tier)
        if not backends and self._capacity.was_served(family.tier, family.name):
            raise Overloaded(
                f"No worker for the model '{name}' is there now.", code="no_worker", retry_after_s=RETRY_AFTER_S
            )
        if not backends:
            here = f" {self._embedding_models()}" if request.endpoint == "embeddings" else ""
            raise ModelNotConfigured(
                f"The model '{name}' is not configured on this server: it needs {family.credential}.{here}",
                param="model",
            )
        return self._able(request, [(backend, offer_of(backend, model)) for backend in backends])

    def _embedding_fallback(self, request: RoutingRequest) -> list[Candidate]:
        if self._settings.embeddings_fallback:
            try:
                return self._forced(request, FALLBACK_EMBEDDING)
            except ModelNotConfigured:
                pass  # said below, with what to install
        raise ModelNotConfigured(
            f"The model '{request.model}' is not on this server: pull it with `ollama pull {LOCAL_EMBEDDING}`, or set "
            f"OPENAI_API_KEY to fall back to {FALLBACK_EMBEDDING}. {self._embedding_models()}",
            param="model",
        )

    def _embedding_models(self) -> str:
        """Return a sentence that names the models that embed here now, and says which of them is `local`."""
        request = RoutingRequest(model=LOCAL, endpoint="embeddings", prompt_tokens=1)
        local = [candidate.target.model for candidate in self._local_choice(request)]
        return embedding_models(self._capacity.backends(), local)

    def _backends_for(self, model: str, tier: Tier) -> list[BackendInfo]:
        provider = provider_of(model, tier, self._capacity)
        return [backend for backend in self._capacity.backends(tier) if backend.provider == provider]

    def _able(self, request: RoutingRequest, options: Iterable[tuple[BackendInfo, LocalModel]]) -> list[Candidate]:
        """Return a candidate for each queue whose model can do what is asked.

        Raises:
            CallerError: there is none; why the first cannot.
        """
        found: dict[str, Candidate] = {}
        refusal: CallerError | None = None
        for backend, model in options:
            # Several workers may serve one queue.
            if backend.queue in found:
                continue
            refused = self._eligibility.refusal(request, backend, model)
            if refused is None:
                found[backend.queue] = self._eligibility.candidate(request, backend, model)
            else:
                refusal = refusal or refused
        if not found and refusal is not None:
            raise refusal
        return list(found.values())


def _behind(candidate: Candidate, places: int) -> Candidate:
    return msgspec.structs.replace(candidate, rank=candidate.rank + places)
