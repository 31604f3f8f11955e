"""GET /claw/v1/models/unsupported: what upstreams' models have lately refused, and so are not asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api.gateway import gateway
from api.http.body import json_response
from shared.redis.names import backend_of

if TYPE_CHECKING:
    from quart import Response


async def list_unsupported() -> Response:
    """List what is known now, by backend and model; a parameter alone, or one value of it (`verbosity=low`)."""
    now_ms = datetime.now(UTC).timestamp() * 1000
    # Several workers may serve one queue, and say the same of it.
    found = {
        (backend.tier, backend_of(backend.queue), model, parameter): until
        for backend in gateway().capacity.backends()
        for model, known in backend.unsupported_ms.items()
        for parameter, until in known.items()
        if until > now_ms
    }
    return json_response(
        {
            "data": [
                {
                    "tier": tier,
                    "backend": backend,
                    "model": model,
                    "parameter": parameter,
                    "until": datetime.fromtimestamp(until / 1000, UTC).isoformat(timespec="seconds"),
                }
                for (tier, backend, model, parameter), until in sorted(found.items())
            ]
        }
    )
