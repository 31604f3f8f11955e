"""Sealing credentials."""

from __future__ import annotations

import pytest

from shared.sealing import CannotOpen, Opener, fingerprint, seal

HEX = "00112233445566778899aabbccddeeff" * 2


@pytest.mark.parametrize("secret", [HEX, HEX.upper(), "a passphrase", HEX[:-1], "ü" * 64])
def test_what_is_sealed_is_opened_with_the_same_secret_alone(secret: str) -> None:
    """In another process too: the key follows from the secret. Nothing of the text can be seen."""
    sealed = seal(Opener(secret).public_key, "AIza-secret")
    assert b"AIza" not in sealed
    assert Opener(secret).open(sealed) == "AIza-secret"
    with pytest.raises(CannotOpen):
        Opener("another").open(sealed)


def test_hex_digits_are_the_key_whatever_their_case() -> None:
    """A passphrase is not."""
    assert Opener(HEX).public_key == Opener(HEX.upper()).public_key
    assert Opener("Passphrase").public_key != Opener("passphrase").public_key


def test_the_same_text_never_looks_the_same_twice() -> None:
    """Nobody sees that two accounts have one key."""
    public_key = Opener(HEX).public_key
    assert seal(public_key, "x") != seal(public_key, "x")


@pytest.mark.parametrize("change", [b"", b"short", None])
def test_what_is_damaged_cannot_be_opened_and_is_not_quoted(change: bytes | None) -> None:
    """A truncated or changed row is an account that cannot be opened, not a crash."""
    opener = Opener(HEX)
    sealed = seal(opener.public_key, "AIza-secret")
    damaged = sealed[:-1] + bytes([sealed[-1] ^ 1]) if change is None else change
    with pytest.raises(CannotOpen) as caught:
        opener.open(damaged)
    assert "AIza" not in str(caught.value)


def test_a_public_key_of_another_length_is_refused() -> None:
    """It is read from Redis."""
    with pytest.raises(ValueError, match="32 bytes"):
        seal(b"short", "x")


def test_a_fingerprint_tells_keys_apart_and_is_short() -> None:
    """64 bits do not lead back to a key."""
    assert fingerprint("a") == fingerprint("a") != fingerprint("b")
    assert len(fingerprint("a")) == 16
