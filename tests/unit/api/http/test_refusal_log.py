"""What was refused before it had a key is logged, within bounds."""

from __future__ import annotations

import logging

import pytest

from api.http.refusal_log import MINUTE_S, MOST_LINES, MOST_PATH_CHARS, RefusalLog


def test_each_has_a_line_until_there_are_too_many(caplog: pytest.LogCaptureFixture) -> None:
    """What a minute has beyond its bound is counted, and the count is logged with the next one."""
    caplog.set_level(logging.INFO)
    now = 0.0
    log = RefusalLog(lambda: now)
    for _ in range(MOST_LINES + 5):
        log.refused("POST", "/v1/chat/completions", "10.0.0.7", "401 invalid_api_key")
    assert [record.message for record in caplog.records] == [
        "refused POST /v1/chat/completions from 10.0.0.7: 401 invalid_api_key"
    ] * MOST_LINES
    caplog.clear()
    now += MINUTE_S
    log.refused("GET", "/" + "x" * 1000, "10.0.0.7", "404 not_found")
    counted, refused = (record.message for record in caplog.records)
    assert counted == "5 more requests were refused before they had a key"
    assert len(refused) < MOST_PATH_CHARS + 100
