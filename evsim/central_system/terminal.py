"""What a person can type in the terminal of csms.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

from ocpp.v16.enums import (
    AvailabilityType,
    CertificateUse,
    ConfigurationKey,
    Log,
    MessageTrigger,
    ResetType,
    UpdateType,
)

from evsim.central_system.id_tags import IdTags, parse_tag
from evsim.central_system.station import Station
from evsim.central_system.station_verbs import MOST_SHOWN, StationVerbs
from evsim.central_system.words import REQUESTS
from evsim.clock import Clock, utc_now
from evsim.errors import UserError
from evsim.prompt import Prompt, Verb


class Terminal:
    """The verbs, and which charge point they are about.

    :param charge_points: those that are connected, by id.
    :param id_tag: whose `start` is, unless it is told.
    """

    def __init__(
        self,
        charge_points: Mapping[str, Station],
        id_tags: IdTags,
        *,
        id_tag: str = "USER",
        now: Clock = utc_now,
    ) -> None:
        self._charge_points = charge_points
        self._id_tags = id_tags
        self._used = ""
        self._of_station = StationVerbs(self._station, id_tag, now)

    def prompt(self) -> Prompt:
        """Make the prompt."""
        return Prompt("csms", self.verbs(), sign=self._sign)

    def _sign(self) -> str:
        return f"csms {self._used}" if self._used else "csms"

    # ── Which charge point ───────────────────────────────────────────────────────────────────

    def _station(self) -> Station:
        if self._used:
            if self._used not in self._charge_points:
                raise UserError(f"{self._used} is not connected; list shows who is")
            return self._charge_points[self._used]
        if len(self._charge_points) == 1:
            return next(iter(self._charge_points.values()))
        if self._charge_points:
            raise UserError(
                "several charge points are connected; use ID says which: "
                + ", ".join(sorted(self._charge_points))
            )
        raise UserError("no charge point is connected")

    def list(self) -> str:
        """Show the charge points."""
        lines = []
        for name, station in sorted(self._charge_points.items())[:MOST_SHOWN]:
            statuses = ", ".join(f"{n} {status}" for n, status in sorted(station.statuses.items()))
            running = ", ".join(str(number) for number in sorted(station.running))
            lines.append(
                f"{name}: {statuses or 'has not told its status'}"
                + (f"; transaction {running}" if running else "")
            )
        if len(self._charge_points) > MOST_SHOWN:
            lines.append(f"and {len(self._charge_points) - MOST_SHOWN} more")
        return "\n".join(lines) or "no charge point is connected"

    def use(self, charge_point_id: str = "") -> str:
        """Choose a charge point; the only one, without a name."""
        if charge_point_id and charge_point_id not in self._charge_points:
            raise UserError(f"{charge_point_id} is not connected; list shows who is")
        self._used = charge_point_id
        return f"all that follows is for {charge_point_id or 'the one that is connected'}"

    def tag(self, id_tag: str = "", *fields: str) -> str:
        """Show or set what is said of an id tag."""
        if not id_tag:
            lines = [str(tag) for tag in self._id_tags]
            return "\n".join(lines[:MOST_SHOWN]) or "all tags are accepted"
        if not fields:
            return str(self._id_tags.get(id_tag))
        tag = parse_tag([id_tag, *fields])
        self._id_tags.set(tag)
        return str(tag)

    # ── The table ────────────────────────────────────────────────────────────────────────────

    def verbs(self) -> Sequence[Verb]:
        """Give the verbs as the prompt has them."""
        of = self._of_station
        ids = _first(lambda: self._charge_points)
        keys = [key.value for key in ConfigurationKey]
        return [
            Verb("list", "", "the charge points that are connected", self.list),
            Verb("use", "[ID]", "which of them is meant", self.use, ids),
            Verb("start", "[TAG] [CONNECTOR]", "start a transaction", of.start),
            Verb("stop", "[TRANSACTION]", "stop it", of.stop, _first(self._running)),
            Verb("limit", "A [CONNECTOR]", "limit the current", of.limit),
            Verb("profile", "CONNECTOR {json}", "give it a charging profile", of.profile),
            Verb("clear-profile", "[{json}]", "remove profiles, all or some", of.clear_profile),
            Verb(
                "composite",
                "[SECONDS] [CONNECTOR] [A|W]",
                "what its profiles together allow",
                of.composite,
            ),
            Verb("reset", "[Soft|Hard]", "let it start anew", of.reset, _words(ResetType)),
            Verb("unlock", "[CONNECTOR]", "release the cable", of.unlock),
            Verb("get", "[KEY...]", "read configuration keys", of.get, lambda _: keys),
            Verb("set", "KEY VALUE", "set one", of.set, _first(lambda: keys)),
            Verb(
                "availability",
                "Operative|Inoperative [CONNECTOR]",
                "put it in or out of use",
                of.availability,
                _words(AvailabilityType),
            ),
            Verb("clear-cache", "", "let it forget the tags it has seen", of.clear_cache),
            Verb("data", "VENDOR [MESSAGE] [DATA]", "send a DataTransfer", of.data),
            Verb(
                "trigger",
                "MESSAGE [CONNECTOR]",
                "have it send a message",
                of.trigger,
                _words(MessageTrigger),
            ),
            Verb("send", "ACTION [{json}]", "send any request", of.send, _first(lambda: REQUESTS)),
            Verb(
                "tag",
                "[TAG [STATUS [EXPIRY [PARENT]]]]",
                "what is said of an id tag",
                self.tag,
                self._complete_tag,
            ),
            Verb(
                "local-list",
                "[VERSION [Full|Differential [TAG[=STATUS]...]]]",
                "its list of tags; TAG alone removes it",
                of.local_list,
                lambda words: list(UpdateType) if len(words) == 1 else (),
            ),
            Verb(
                "reserve",
                "TAG [MINUTES] [CONNECTOR] [PARENT]",
                "keep a connector for a tag",
                of.reserve,
            ),
            Verb("cancel", "RESERVATION", "give it up", of.cancel),
            Verb("firmware", "URL [WHEN]", "have it install firmware", of.firmware),
            Verb("diagnostics", "URL", "have it upload diagnostics", of.diagnostics),
            Verb(
                "log",
                "SecurityLog|DiagnosticsLog URL",
                "have it upload a log",
                of.log,
                _words(Log),
            ),
            Verb(
                "certificates",
                "[USE]",
                "the root certificates it trusts",
                of.certificates,
                _words(CertificateUse),
            ),
            Verb("install", "USE FILE", "have it trust one", of.install, _words(CertificateUse)),
            Verb("delete", "{json}", "have it forget one, as `certificates` shows it", of.delete),
        ]

    def _running(self) -> Iterable[str]:
        return [str(n) for station in self._charge_points.values() for n in station.running]

    def _complete_tag(self, words: Sequence[str]) -> Iterable[str]:
        if len(words) == 1:
            return ("Accepted", "Blocked", "Expired", "Invalid")
        return [tag.id_tag for tag in self._id_tags] if not words else ()


def _words(kind: type[StrEnum]) -> Callable[[Sequence[str]], Iterable[str]]:
    """Complete the first word by the members of an enumeration."""
    return lambda words: [member.value for member in kind] if not words else ()


def _first(known: Callable[[], Iterable[str]]) -> Callable[[Sequence[str]], Iterable[str]]:
    """Complete the first word only."""
    return lambda words: known() if not words else ()
