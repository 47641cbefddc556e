"""Passwords of listeners as a users file keeps them: argon2id (RFC 9106), bcrypt, and what came over from Icecast.

Icecast keeps the MD5 digest of a password, which anybody guesses who has the file. `castd import` puts such a digest
through argon2id; the entry then begins with "{MD5}".
"""

from __future__ import annotations

from hashlib import md5

ICECAST = "{MD5}"

BCRYPT = ("$2a$", "$2b$", "$2y$")

BCRYPT_BYTES = 72
"""Of a password that bcrypt looks at; the libraries behind htpasswd cut it off there, too."""


def hashed(password: str) -> str:
    """A new entry for a password, by argon2id with its library's parameters (RFC 9106 §4, the second choice)."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def hashed_digest(digest: str) -> str:
    """An entry for a password of which an Icecast users file has the MD5 digest, in hexadecimal."""
    return ICECAST + hashed(digest.lower())


def is_entry(text: str) -> bool:
    """Whether an entry is of a kind that can be verified."""
    return text.removeprefix(ICECAST).startswith(("$argon2id$", "$argon2i$", "$argon2d$", *BCRYPT))


def matches(password: str, entry: str) -> bool:
    """Whether a password is the one of an entry; takes a tenth of a second or more of a core."""
    if entry.startswith(ICECAST):
        password, entry = md5(password.encode(), usedforsecurity=False).hexdigest(), entry.removeprefix(ICECAST)
    if entry.startswith(BCRYPT):
        import bcrypt

        try:
            return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], entry.encode())
        except ValueError:  # no salt
            return False
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return PasswordHasher().verify(entry, password)
    except (Argon2Error, InvalidHashError):
        return False
