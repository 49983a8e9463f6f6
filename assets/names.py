"""Names in any alphabet made into parts of object ids."""

from __future__ import annotations

import hashlib
import re
import unicodedata


def slug(text: str) -> str:
    """`text` in [A-Za-z0-9_-] and dots inside, at most 48 characters; "" when nothing of it can be kept."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", ascii_text)[:48].strip("-.")


def printable(text: str) -> str:
    """`text` without the lone surrogates that stand for undecodable bytes in file names."""
    return text.encode("utf-8", "replace").decode()


def short_hash(text: str) -> str:
    """8 hex digits that tell texts apart whose slugs are the same."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
