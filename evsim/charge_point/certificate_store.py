"""The certificates of a charge point, on disk: whom it trusts, and what it proves itself with.

Only texts in PEM form are kept here; certificate_checks.py judges them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ocpp.v16.enums import CertificateUse

from evsim.clock import from_ocpp, to_ocpp
from evsim.sqlite import Database, StorageError

#: CertificateStoreMaxLength, unless told otherwise.
MOST_CERTIFICATES = 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trusted_certificates (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    use TEXT NOT NULL,
    pem TEXT NOT NULL,
    UNIQUE (use, pem)
);
CREATE TABLE IF NOT EXISTS own_certificates (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    private_key TEXT NOT NULL,
    chain TEXT,                        -- NULL until it is signed
    valid_from TEXT
)
"""


class CertificateError(Exception):
    """A certificate, or a chain of them, is not what is needed; says why."""


class RevokedError(CertificateError):
    """A certificate was revoked by who signed it."""


class CertificateStore:
    """Root certificates by their use, the charge point's own certificate, and its private keys.

    :param most: how many root certificates may be kept (CertificateStoreMaxLength).
    """

    def __init__(
        self, database: Database, *, most: Callable[[], int] = lambda: MOST_CERTIFICATES
    ) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._most = most

    # ── Whom to trust ────────────────────────────────────────────────────────────────────────

    def roots(self, use: CertificateUse) -> list[str]:
        """Give the root certificates for a use, the oldest first."""
        rows = self._database.execute(
            "SELECT pem FROM trusted_certificates WHERE use = ? ORDER BY number", (use,)
        )
        return [str(pem) for (pem,) in rows]

    def add_root(self, use: CertificateUse, pem: str) -> None:
        """Trust a root certificate from now on; CertificateError if there are too many."""
        (count,) = self._database.execute("SELECT COUNT(*) FROM trusted_certificates").fetchone()
        if pem not in self.roots(use) and count >= self._most():
            raise CertificateError(f"{count} certificates are installed, and no more may be")
        self._database.write(
            "INSERT OR IGNORE INTO trusted_certificates (use, pem) VALUES (?, ?)", (use, pem)
        )

    def remove_root(self, use: CertificateUse, pem: str) -> None:
        """Trust a root certificate no longer."""
        self._database.write(
            "DELETE FROM trusted_certificates WHERE use = ? AND pem = ?", (use, pem)
        )

    # ── What to prove oneself with ───────────────────────────────────────────────────────────

    def begin_own(self, private_key: str) -> None:
        """Keep the key of a certificate that is to be signed, in place of one that never was."""
        with self._database.writing():
            self._database.execute("DELETE FROM own_certificates WHERE chain IS NULL")
            self._database.execute(
                "INSERT INTO own_certificates (private_key) VALUES (?)", (private_key,)
            )

    @property
    def waiting_key(self) -> str | None:
        """The private key whose certificate is to be signed."""
        row = self._database.execute(
            "SELECT private_key FROM own_certificates WHERE chain IS NULL"
        ).fetchone()
        return str(row[0]) if row else None

    def complete_own(self, chain: str, valid_from: datetime) -> None:
        """Keep the certificate of the key that waits for it."""
        self._database.write(
            "UPDATE own_certificates SET chain = ?, valid_from = ? WHERE chain IS NULL",
            (chain, to_ocpp(valid_from)),
        )

    def own(self, now: datetime) -> tuple[str, str] | None:
        """Give the newest chain that is valid by now, and its private key."""
        rows = self._database.execute(
            "SELECT chain, private_key, valid_from FROM own_certificates"
            " WHERE chain IS NOT NULL ORDER BY number DESC"
        )
        return next((row[:2] for row in rows if from_ocpp(row[2]) <= now), None)

    def write_own(self, directory: Path, now: datetime) -> tuple[Path, Path] | None:
        """Write what own() gives to certificate and key files, which TLS wants; StorageError.

        Each has a new name, and only its owner can read it: whoever has loaded them removes them.
        """
        if (pair := self.own(now)) is None:
            return None
        paths = []
        for text, suffix in zip(pair, ("pem", "key"), strict=True):
            path = directory / f"own-{secrets.token_hex(8)}.{suffix}"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(text)
            except OSError as error:
                raise StorageError(f"cannot write {path}: {error}") from error
            paths.append(path)
        return paths[0], paths[1]
