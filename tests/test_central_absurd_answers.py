"""The central system bears whatever a station answers: one clear error, and the link goes on."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ocpp.exceptions import OCPPError
from ocpp.v16.enums import (
    AvailabilityType,
    CertificateUse,
    Log,
    MessageTrigger,
    ResetType,
    UpdateType,
)
from ocpp_corpus import schema_of
from octt_central_bench import TAG, Bench, bench

from evsim import virtual_time
from evsim.errors import RefusedError

URL = "http://127.0.0.1/file"
PROFILE = {
    "charging_profile_id": 1,
    "stack_level": 0,
    "charging_profile_purpose": "TxDefaultProfile",
    "charging_profile_kind": "Relative",
    "charging_schedule": {
        "charging_rate_unit": "A",
        "charging_schedule_period": [{"start_period": 0, "limit": 16.0}],
    },
}
TX_PROFILE = {**PROFILE, "charging_profile_purpose": "TxProfile"}
HASHES = {
    "hash_algorithm": "SHA256",
    "issuer_name_hash": "a1",
    "issuer_key_hash": "b2",
    "serial_number": "1",
}
FIRMWARE = {
    "location": URL,
    "retrieve_date_time": "2026-01-01T00:00:00Z",
    "signing_certificate": "none",
    "signature": "none",
}

#: All that a central system asks of a station.
VERBS: dict[str, Callable[[Bench], Awaitable[object]]] = {
    "set_limit": lambda it: it.station.set_limit(16),
    "remote_start": lambda it: it.station.remote_start(TAG, 1, TX_PROFILE),
    "remote_stop": lambda it: it.station.remote_stop(1),
    "change_availability": lambda it: it.station.change_availability(
        0, AvailabilityType.inoperative
    ),
    "get_configuration": lambda it: it.station.get_configuration("HeartbeatInterval"),
    "change_configuration": lambda it: it.station.change_configuration("HeartbeatInterval", "10"),
    "clear_cache": lambda it: it.station.clear_cache(),
    "data_transfer": lambda it: it.station.data_transfer("com.example"),
    "reset": lambda it: it.station.reset(ResetType.soft),
    "unlock": lambda it: it.station.unlock(1),
    "local_list_version": lambda it: it.station.local_list_version(),
    "send_local_list": lambda it: it.station.send_local_list(1, [], UpdateType.full),
    "reserve": lambda it: it.station.reserve(1, TAG, it.now()),
    "cancel_reservation": lambda it: it.station.cancel_reservation(1),
    "set_profile": lambda it: it.station.set_profile(1, PROFILE),
    "clear_profiles": lambda it: it.station.clear_profiles(),
    "composite_schedule": lambda it: it.station.composite_schedule(1, 600),
    "trigger": lambda it: it.station.trigger(MessageTrigger.heartbeat),
    "extended_trigger": lambda it: it.station.extended_trigger(MessageTrigger.heartbeat),
    "update_firmware": lambda it: it.station.update_firmware(URL, it.now()),
    "get_diagnostics": lambda it: it.station.get_diagnostics(URL),
    "signed_update_firmware": lambda it: it.station.signed_update_firmware(1, FIRMWARE),
    "get_log": lambda it: it.station.get_log(Log.security_log, 1, URL),
    "install_certificate": lambda it: it.station.install_certificate(
        CertificateUse.central_system_root_certificate, "none"
    ),
    "delete_certificate": lambda it: it.station.delete_certificate(HASHES),
    "installed_certificates": lambda it: it.station.installed_certificates(
        CertificateUse.central_system_root_certificate
    ),
    "certificate_signed": lambda it: it.station.certificate_signed("none"),
    "rotate_key": lambda it: it.station.rotate_key(),
    "raise_security_profile": lambda it: it.station.raise_security_profile(1),
}

#: A CALLRESULT's payload, or the rest of a CALLERROR.
Answer = dict[str, Any] | list[Any]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["Accepted", "Rejected", "Unlocked", "NotSupported", "Unheard", "A", "W"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=10,
)
STATUSES = st.sampled_from(["Accepted", "Rejected", "Unlocked", "NotSupported", "Unheard"])
PERIODS = st.lists(
    st.fixed_dictionaries(
        {"startPeriod": st.integers(-(2**40), 2**40), "limit": st.integers(-(10**9), 10**30)}
    ),
    max_size=3,
)
SCHEDULES = st.fixed_dictionaries(
    {"chargingRateUnit": st.sampled_from(["A", "W"]), "chargingSchedulePeriod": PERIODS},
    optional={
        "duration": st.integers(-(2**40), 2**70),
        "startSchedule": st.sampled_from(["garbage", "2026-01-01T00:00:00Z", ""]),
        "minChargingRate": st.integers(-5, 10**20),
    },
)
KEYS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["ChargingScheduleAllowedChargingRateUnit", "Other", ""]),
            "readonly": st.booleans(),
        },
        optional={"value": st.sampled_from(["Current", "Power", "", ",,,", "Volt", "W"])},
    ),
    max_size=3,
)
#: For each verb something that its schema mostly lets pass, and that makes no sense all the same.
PLAUSIBLE = st.fixed_dictionaries(
    {
        "status": st.just("Accepted") | STATUSES,
        "chargingSchedule": SCHEDULES,
        "listVersion": st.integers(-(2**40), 2**40),
    },
    optional={
        "connectorId": st.just(1) | st.integers(-(2**40), 2**40),
        "scheduleStart": st.sampled_from(["garbage", "2026-01-01T00:00:00Z"]),
        "configurationKey": KEYS,
        "unknownKey": st.lists(st.sampled_from(["Other", ""]), max_size=2),
        "fileName": st.sampled_from(["", "../../etc/passwd", "a\nb"]),
        "certificateHashData": st.lists(JSON, max_size=2),
        "data": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    },
)
CALL_ERRORS = st.tuples(
    st.sampled_from(["NotImplemented", "NotSupported", "InternalError", "Unheard", ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    JSON,
).map(list)
ANSWERS = (
    PLAUSIBLE
    | st.dictionaries(st.sampled_from(["status", "listVersion", "extra"]), JSON, max_size=3)
    | CALL_ERRORS
)


async def show(it: Bench, name: str, answer: Answer, *, fitted: bool) -> None:
    """Let `answer` be the answer to all that a verb asks; then everything must go on.

    `fitted`: without the fields that the schema doesn't know, so that it gets past it.
    """
    doing = asyncio.ensure_future(VERBS[name](it))
    while not doing.done():
        asked = asyncio.ensure_future(it.tool.expect_any())
        await asyncio.wait({doing, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
            break
        if isinstance(answer, dict):
            known = schema_of(asked.result()[0], "response").get("properties", {})
            await it.tool.answer({k: v for k, v in answer.items() if k in known or not fitted})
        else:
            await it.tool.refuse(*answer)
        await asyncio.sleep(0)
    with contextlib.suppress(RefusedError, OCPPError):
        await doing
    assert "currentTime" in await it.tool.call("Heartbeat")


def schedule(**fields: object) -> Answer:
    made = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6}]}
    return {"status": "Accepted", "chargingSchedule": {**made, **fields}}


@example(answer={}, fitted=True)
@example(answer={"status": "Accepted"}, fitted=True)
@example(answer=schedule(), fitted=True)
@example(answer=schedule(duration=2**40), fitted=True)
@example(answer=schedule(chargingSchedulePeriod=[]), fitted=True)
@example(answer=schedule(chargingSchedulePeriod=[{"startPeriod": -1, "limit": 0}]), fitted=True)
@given(answer=ANSWERS, fitted=st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_no_answer_ends_the_link_or_is_more_than_one_clear_error(
    answer: Answer, *, fitted: bool
) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with asyncio.timeout(10_000), bench(Path(directory)) as it:
                for name in VERBS:
                    await show(it, name, answer, fitted=fitted)
                    it.station.running.clear()

    virtual_time.run(play())
