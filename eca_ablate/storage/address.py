"""Addresses of storages, and how to speak of them without their passwords."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from eca_ablate.errors import UserError


def storage_url(folder: Path) -> str:
    """Return the default storage of a results folder, an SQLite file."""
    return f"sqlite:///{folder.resolve() / 'study.db'}"


def read_url(text: str) -> URL:
    """Return a storage's address; PostgreSQL is spoken to through psycopg unless the address names another driver.

    Raises:
        UserError: without the text, since what cannot be read may hold a password anywhere.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UserError(
            "the storage must be a URL such as postgresql://USER@HOST/DATABASE, but what was given cannot be read as "
            "one; special characters of a password are written %XX, or leave the password to ~/.pgpass"
        ) from None
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def hide_password(message: str, url: URL) -> str:
    """Return a message without the password of an address, in whatever way it may be written there."""
    secrets = [url.password, url.query.get("password")]
    for secret in {str(secret) for secret in secrets if secret}:
        for written in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]):
            message = message.replace(written, "***")
    return message
