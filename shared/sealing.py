"""Credentials that are stored: whoever knows the public key can seal one, only the private key opens it.

X25519 sealed boxes (libsodium's `crypto_box_seal`), so that the api can take a credential in without ever being able to
read one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

_HEX_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
# Not a random one: a passphrase has to give the same key in every process that opens by it.
_SALT: Final = b"nself-claw encryption key"
# About a twentieth of a second and 16 MiB, once at a start: a passphrase is worth guessing, 64 hex digits are not.
_SCRYPT_COST: Final = 2**14


class CannotOpen(Exception):
    """The sealed text was sealed for another key, or is damaged."""


class Opener:
    """The private key, and what can be done with it.

    Args:
        secret: 64 hex digits are the key itself, anything else is a passphrase that it is made from.
    """

    def __init__(self, secret: str) -> None:
        private = PrivateKey(_key_of(secret))
        self._box = SealedBox(private)
        self.public_key = bytes(private.public_key)

    def open(self, sealed: bytes) -> str:
        """Return what was sealed.

        Raises:
            CannotOpen: it was sealed for another key, or is damaged.
        """
        try:
            return self._box.decrypt(sealed).decode()
        except (CryptoError, UnicodeDecodeError, ValueError, TypeError):
            # Its text may quote what it could not read.
            raise CannotOpen("this credential was sealed for another encryption key") from None


def seal(public_key: bytes, text: str) -> bytes:
    """Encrypt `text` for the owner of the private key. The same text never looks the same twice.

    Raises:
        ValueError: `public_key` is not 32 bytes long.
    """
    if len(public_key) != PublicKey.SIZE:
        raise ValueError("a public key has 32 bytes")
    return SealedBox(PublicKey(public_key)).encrypt(text.encode())


def fingerprint(credential: str) -> str:
    """Return 16 hex digits that tell a credential from others and do not lead back to it; for keys of high entropy."""
    return hashlib.sha256(b"nself-claw account " + credential.encode()).hexdigest()[:16]


def _key_of(secret: str) -> bytes:
    if _HEX_KEY.fullmatch(secret):
        return bytes.fromhex(secret)
    return hashlib.scrypt(secret.encode(), salt=_SALT, n=_SCRYPT_COST, r=8, p=1, dklen=32)
