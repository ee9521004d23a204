"""Asking a charge point, so that a no is an error, and hearing what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from evsim.central_system.reports import Reports
from evsim.errors import RefusedError, UserError
from evsim.ocpp_link import OcppLink

Choice = TypeVar("Choice", bound=StrEnum)

ACCEPTED = "Accepted"


class Asking(OcppLink):
    """A charge point that can be asked, and whose reports can be awaited."""

    #: Attributes that __init__ of a class among several would be too late for.
    transaction_timeout_s: float = 10.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.reports = Reports()

    async def ask(self, request: Any, what: str, *accepting: str) -> Any:
        """Send a request and give the response; RefusedError unless its status is accepting.

        :param what: was asked, in words.
        :param accepting: the statuses that are a yes; by default Accepted.
        """
        answer = await self.call(request)
        if answer.status not in (accepting or (ACCEPTED,)):
            raise RefusedError(f"{what} was answered with {answer.status}")
        return answer

    def note(self, action: str, **fields: object) -> None:
        """Keep what it reports for who awaits it."""
        self.reports.note(action, fields)

    async def report(
        self, action: str, timeout_s: float | None = None, **fields: object
    ) -> Mapping[str, Any]:
        """Give the next report of `action` with these fields, e.g. status="Installed".

        It may have come already, unless a call of this method has given it or a later one. The
        names of the fields are those of the message in snake_case. Raises RefusedError if it
        doesn't come within `timeout_s`, by default self.transaction_timeout_s.
        """
        limit_s = self.transaction_timeout_s if timeout_s is None else timeout_s
        return await self.reports.next(action, limit_s, **fields)


def chosen(kind: type[Choice], word: str) -> Choice:
    """Give the member of an enumeration of OCPP that a word names; UserError if none."""
    for member in kind:
        if member.value.lower() == word.lower():
            return member
    known = ", ".join(member.value for member in kind)
    raise UserError(f"{word!r} is none of: {known}")
