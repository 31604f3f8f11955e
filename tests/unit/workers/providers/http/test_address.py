"""The names of upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.providers.http import address
from workers.providers.http.address import backend_name, machine_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://gpu1:11434", "gpu1:11434"),
        ("http://gpu1:11434/", "gpu1:11434"),
        ("http://gpu1:11434/v1", "gpu1:11434/v1"),
        ("https://models.example.com/ollama", "models.example.com:443/ollama"),
        ("https://models.example.com/llm/v1/", "models.example.com:443/llm/v1"),
        ("http://127.0.0.1:8080/v1", f"{machine_name()}:8080/v1"),
        ("http://127.0.0.2:8080/v1", f"{machine_name()}.127.0.0.2:8080/v1"),
        ("http://0.0.0.0:8080/v1", f"{machine_name()}.0.0.0.0:8080/v1"),
        ("http://models.localhost:8080/v1", f"{machine_name()}.models.localhost:8080/v1"),
    ],
)
def test_an_upstream_is_named_by_host_port_and_path(url: str, name: str) -> None:
    """So that two servers at one port, or two APIs of one server, have two queues; loopback is this machine."""
    assert backend_name(url) == name


def test_two_machines_of_one_name_have_two_queues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one has the same at each start; the id itself is not told."""
    names = []
    for text in ("one\n", "two\n", "one\n"):
        path = tmp_path / "machine-id"
        path.write_text(text)
        monkeypatch.setattr(address, "_MACHINE_IDS", (tmp_path / "none", path))
        machine_name.cache_clear()
        names.append(backend_name("http://localhost:11434"))
    machine_name.cache_clear()
    assert names[0] == names[2] != names[1]
    assert "one" not in names[0]
