"""The feature profile LocalAuthListManagement: the local authorization list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocpp.v16 import call_result
from ocpp.v16.enums import Action, UpdateStatus, UpdateType

from evsim.charge_point.authorization_cache import AuthorizationCache
from evsim.charge_point.local_list import LocalList
from evsim.ocpp_link import on


class LocalAuthListManagement:
    """Answers the central system about the local list."""

    def __init__(self, local_list: LocalList, cache: AuthorizationCache) -> None:
        self._local_list = local_list
        self._cache = cache

    @on(Action.get_local_list_version)
    def on_get_local_list_version(self, **_: object) -> call_result.GetLocalListVersion:
        """Tell the list's version."""
        return call_result.GetLocalListVersion(self._local_list.version)

    @on(Action.send_local_list)
    def on_send_local_list(
        self,
        list_version: int,
        update_type: str,
        local_authorization_list: Sequence[Mapping[str, Any]] = (),
        **_: object,
    ) -> call_result.SendLocalList:
        """Take an update of the list; of the tags in it the cache has nothing more to say."""
        kind = UpdateType(update_type)
        status = self._local_list.update(list_version, kind, local_authorization_list)
        if status == UpdateStatus.accepted:
            self._cache.forget(*(entry["id_tag"] for entry in local_authorization_list))
        return call_result.SendLocalList(status)
