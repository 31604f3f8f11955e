"""Making and hashing keys."""

from __future__ import annotations

import hashlib
import re

from shared.postgres.keys import hash_secret, new_secret


def test_a_secret_is_letters_and_digits_after_its_start() -> None:
    """At least 128 bits of them: 64 hex digits are 256."""
    assert re.fullmatch(r"sk-nself-[0-9a-f]{64}", new_secret())


def test_secrets_differ() -> None:
    """Each is random."""
    assert len({new_secret() for _ in range(100)}) == 100


def test_the_hash_is_of_the_whole_key() -> None:
    """Prefix included, as the real system stores it."""
    assert hash_secret("sk-nself-abc") == hashlib.sha256(b"sk-nself-abc").digest()


def test_any_header_value_can_be_hashed() -> None:
    """A client may send anything, a lone surrogate too."""
    assert len(hash_secret("\udcff ü")) == 32
