"""LocalAuthListManagement: the list of id tags that a charge point holds itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import UpdateType

from evsim.central_system.features.asking import Asking, chosen


class LocalListCommands(Asking):
    """What a central system asks about the local list."""

    async def local_list_version(self) -> int:
        """Give the version of its list: 0 when it is empty, -1 when it has none at all."""
        answer = await self.call(call.GetLocalListVersion())
        return int(answer.list_version)

    async def send_local_list(
        self,
        version: int,
        entries: Sequence[Mapping[str, Any]],
        update_type: str = UpdateType.full,
    ) -> call_result.SendLocalList:
        """Replace its list (Full) or change it (Differential).

        :param entries: AuthorizationData: {"id_tag": ..., "id_tag_info": {"status": ...}}; in a
            Differential one an entry without id_tag_info removes the tag.
        """
        kind = chosen(UpdateType, update_type)
        answer: call_result.SendLocalList = await self.ask(
            call.SendLocalList(version, kind, list(entries)),
            f"version {version} of the local list",
        )
        return answer
