"""What an error may carry, whatever it quotes."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from shared import errors
from shared.errors import GatewayError
from shared.relay import MAX_PAYLOAD

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GatewayError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "text", ["x" * 300_000, "\U0001f600" * 300_000, "\x00" * 300_000], ids=["x", "wide", "escaped"]
)
def test_an_error_fits_one_frame_whatever_it_quotes(kind: type[GatewayError], text: str) -> None:
    """Clients and upstreams choose names, values and messages; an error that quotes them stays small."""
    error = kind(f"No such thing: '{text}'.", param=text, code=text)
    assert len(msgspec.json.encode(error.to_info())) < MAX_PAYLOAD / 8
    assert str(error).startswith("No such thing: '")
    assert str(error).endswith("'.")
