"""What is logged of a server that does not answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from shared.process.outage import OutageLog

if TYPE_CHECKING:
    import pytest


def test_an_outage_is_logged_once_and_its_end_with_the_count(caplog: pytest.LogCaptureFixture) -> None:
    """Two lines an outage, however many tries fail; a second outage has its own."""
    caplog.set_level(logging.INFO)
    outage = OutageLog(logging.getLogger("tests"), "Redis", "relay")
    for _ in range(3):
        outage.failed(TimeoutError())
    for _ in range(2):
        outage.answered()
    outage.failed(OSError())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    first, last, _ = (record.getMessage() for record in caplog.records)
    assert first == "relay: Redis does not answer (TimeoutError)"
    assert last.startswith("relay: Redis answers again after ")
    assert last.endswith(" 3 failures")
