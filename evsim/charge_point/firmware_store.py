"""The firmware that a charge point runs, and the update under way: on disk, to survive a reboot.

A firmware image of ours is any file whose first line is

    EVSIM-FIRMWARE 2.0.1

a mark and the version, at most 50 printable ASCII characters without a blank. Nothing of what
follows is executed. A file without that line is what a damaged image is elsewhere: it can be
downloaded, and its installation fails.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from evsim.clock import from_ocpp, to_ocpp
from evsim.file_transfer import Retries
from evsim.sqlite import Database

#: Of a charge point that was never updated.
FIRST_VERSION = "1.0.0"

_FIRST_LINE = re.compile(rb"EVSIM-FIRMWARE ([!-~]{1,50})\r?(?:\n|\Z)")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS firmware (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    version TEXT NOT NULL,
    update_under_way TEXT,             -- as JSON; NULL if there is none
    image BLOB                         -- once it is downloaded
)
"""


class FirmwareImageError(Exception):
    """A file is no firmware image."""


def read_version(image: bytes) -> str:
    """Give the version of a firmware image; FirmwareImageError if it is none."""
    found = _FIRST_LINE.match(image)
    if found is None:
        start = image[:20].decode("ascii", "backslashreplace")
        raise FirmwareImageError(
            f"its first line is to be 'EVSIM-FIRMWARE VERSION'; it begins with {start!r}"
            if image
            else "the file is empty"
        )
    return found[1].decode("ascii")


class Stage(StrEnum):
    """How far an update has come, as far as it matters after a restart of the program."""

    REQUESTED = "requested"
    DOWNLOADED = "downloaded"
    REBOOTING = "rebooting"


@dataclass(frozen=True)
class Signed:
    """What SignedUpdateFirmware has on top; both texts are as the message has them."""

    request_id: int
    certificate: str
    signature: str
    install_at: datetime | None = None


@dataclass(frozen=True)
class Update:
    """An update that the central system asked for."""

    location: str
    retrieve_at: datetime
    retries: Retries
    signed: Signed | None = None
    stage: Stage = Stage.REQUESTED

    def to_json(self) -> str:
        """Write all of it."""
        return json.dumps(dataclasses.asdict(self), default=to_ocpp)

    @classmethod
    def from_json(cls, text: str) -> Update:
        """Read what to_json() wrote."""
        fields = json.loads(text)
        signed = fields["signed"]
        if signed is not None:
            install_at = signed["install_at"] and from_ocpp(signed["install_at"])
            signed = Signed(**{**signed, "install_at": install_at})
        return cls(
            fields["location"],
            from_ocpp(fields["retrieve_at"]),
            Retries(**fields["retries"]),
            signed,
            Stage(fields["stage"]),
        )


class FirmwareStore:
    """Version and update of one charge point."""

    def __init__(self, database: Database) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        row = database.execute("SELECT version, update_under_way FROM firmware").fetchone()
        #: What BootNotification says as firmwareVersion.
        self.version = str(row[0]) if row else FIRST_VERSION
        #: The update under way.
        self.update = Update.from_json(row[1]) if row and row[1] else None

    @property
    def image(self) -> bytes:
        """What was downloaded."""
        row = self._database.execute("SELECT image FROM firmware").fetchone()
        return bytes(row[0] or b"") if row else b""

    def begin(self, update: Update) -> None:
        """Put an update in the place of the one before."""
        self._keep(self.version, update)

    def downloaded(self, image: bytes) -> None:
        """Keep the image."""
        self._keep(self.version, self._at(Stage.DOWNLOADED), image)

    def installed(self, version: str) -> None:
        """Run the new version from the next boot on."""
        self._keep(version, self._at(Stage.REBOOTING))

    def end(self) -> None:
        """Forget the update."""
        self._keep(self.version, None)

    def _at(self, stage: Stage) -> Update:
        assert self.update is not None, "there is an update under way"
        return dataclasses.replace(self.update, stage=stage)

    def _keep(self, version: str, update: Update | None, image: bytes | None = None) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO firmware VALUES (1, ?, ?, ?)",
            (version, update and update.to_json(), image),
        )
        self.version, self.update = version, update
