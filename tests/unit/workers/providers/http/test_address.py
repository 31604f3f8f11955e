"""The names of upstreams."""

from __future__ import annotations

import pytest

from shared.settings import host_name
from workers.providers.http.address import backend_name


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://gpu1:11434", "gpu1:11434"),
        ("http://gpu1:11434/", "gpu1:11434"),
        ("http://gpu1:11434/v1", "gpu1:11434/v1"),
        ("https://models.example.com/ollama", "models.example.com:443/ollama"),
        ("https://models.example.com/llm/v1/", "models.example.com:443/llm/v1"),
        ("http://127.0.0.1:8080/v1", f"{host_name()}:8080/v1"),
    ],
)
def test_an_upstream_is_named_by_host_port_and_path(url: str, name: str) -> None:
    """So that two servers at one port, or two APIs of one server, have two queues; loopback is this machine."""
    assert backend_name(url) == name
