"""Who may charge: asked of the central system, or decided from what is known here.

    online     LocalPreAuthorize and accepted here ── may charge, nobody is asked
               else ── what the central system answers
    offline    known here and not accepted ── may not
               accepted here and LocalAuthorizeOffline ── may
               else ── AllowOfflineTxForUnknownId

"Here" is the local list; for a tag that is not in it, the authorization cache.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ocpp.v16.enums import AuthorizationStatus

from evsim.charge_point.authorization_cache import AuthorizationCache
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.id_tags import TagInfo, belongs_to, is_id_tag, plain, read_tag_info
from evsim.charge_point.local_list import LocalList
from evsim.clock import Clock

#: Asks the central system about an id tag: gives the idTagInfo of its answer to Authorize
#: (snake_case keys), or None if there is none because it can't be reached.
Ask = Callable[[str], Awaitable[Mapping[str, Any] | None]]

INVALID = TagInfo(AuthorizationStatus.invalid)

log = logging.getLogger("evsim.charge_point")


class Authorizer:
    """Decides by the local list, the cache, the central system and the keys that govern them."""

    def __init__(
        self,
        configuration: Configuration,
        local_list: LocalList,
        cache: AuthorizationCache,
        now: Clock,
    ) -> None:
        self._configuration = configuration
        self._local_list = local_list
        self._cache = cache
        self._now = now

    async def authorize(self, id_tag: str, *, online_call: Ask | None) -> TagInfo:
        """Say whether a tag may charge; that is so if the answer `is_accepted`.

        :param online_call: None while offline.
        """
        if not is_id_tag(id_tag):
            return INVALID
        known = self.known(id_tag)
        if online_call is None:
            return self._decide_offline(known)
        if known and known.is_accepted and self._configuration.flag("LocalPreAuthorize"):
            return known
        answer = await online_call(id_tag)
        if answer is None:
            return self._decide_offline(self.known(id_tag))
        return self.hear(id_tag, answer)

    async def may_stop(
        self, id_tag: str, *, started_by: str, parent_id_tag: str | None, online_call: Ask | None
    ) -> bool:
        """Say whether a tag may stop a transaction: the same tag, or an accepted one of its group.

        :param parent_id_tag: of `started_by`, if the transaction's start told it.
        """
        if plain(id_tag) == plain(started_by):
            return True  # nobody is asked
        info = await self.authorize(id_tag, online_call=online_call)
        if parent_id_tag is None and (starter := self.known(started_by)):
            parent_id_tag = starter.parent_id_tag
        return info.is_accepted and belongs_to(
            id_tag, info.parent_id_tag, owner=started_by, owners_parent=parent_id_tag
        )

    def known(self, id_tag: str) -> TagInfo | None:
        """Give what is known here of a tag now; the list goes before the cache."""
        info = self._local_list.find(id_tag) or self._cache.find(id_tag)
        return info.at(self._now()) if info else None

    def hear(self, id_tag: str, wire: Mapping[str, Any]) -> TagInfo:
        """Take the idTagInfo that an answer (to Authorize, Start- or StopTransaction) brought."""
        try:
            info = read_tag_info(wire)
        except ValueError as error:
            # Its status is to be obeyed; but for how long is not known.
            log.warning("the idTagInfo of an answer is odd and not kept: %s", error)
            self._cache.forget(id_tag)
            return TagInfo(AuthorizationStatus(wire["status"]))
        if self._local_list.find(id_tag) is None:
            self._cache.keep(id_tag, info)
        return info

    def _decide_offline(self, known: TagInfo | None) -> TagInfo:
        if known is not None:
            if not known.is_accepted:
                return known
            if self._configuration.flag("LocalAuthorizeOffline"):
                return known
        if self._configuration.flag("AllowOfflineTxForUnknownId"):
            return known or TagInfo(AuthorizationStatus.accepted)
        return INVALID
