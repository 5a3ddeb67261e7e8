"""Secrets of tokens, and the names of those who show them."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from mlsdk.errors import UsageError

_LONGEST_SECRET = 200

_NOBODY = hashlib.sha256(b"").hexdigest()
"""What the secret of an unknown token is compared with; no secret of the right form has this digest."""


def new_secret() -> tuple[str, str]:
    """A new id of a token, and its secret, of 256 random bits."""
    token = secrets.token_hex(8)
    return token, f"mlsdk_{token}_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> str:
    """What is kept of a secret. It is random, and long: it needs no slow function."""
    return hashlib.sha256(secret[:_LONGEST_SECRET].encode("utf-8", "replace")).hexdigest()


def is_it(secret: str, kept: str | None) -> bool:
    """Whether a secret is the one whose digest is kept; an unknown token, None, takes the same path as a known one."""
    return hmac.compare_digest(_NOBODY if kept is None else kept, digest_of(secret)) and kept is not None


def id_in(secret: str) -> str:
    """The id of a token that a secret names; empty if it has not the form of one."""
    parts = secret.split("_", 2) if len(secret) <= _LONGEST_SECRET else []
    return parts[1] if len(parts) == 3 and parts[0] == "mlsdk" and len(parts[1]) == 16 else ""


def check_actor(actor: str) -> str:
    """The name itself.

    Raises:
        UsageError: it cannot be the name of somebody.
    """
    if not 0 < len(actor) <= 200 or actor.strip() != actor or not actor.isprintable() or actor == "*":
        raise UsageError(f"{actor[:80]!r} cannot name anybody: 1 to 200 printable characters, such as an address")
    return actor


def check_note(note: str) -> str:
    """The note itself.

    Raises:
        UsageError: it is too long.
    """
    if len(note) > 500 or not note.isprintable():
        raise UsageError("a note has at most 500 characters, in one line")
    return note
