"""What a driver and the world do to a charge point, and what it tells its central system."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from test_cp import bench, play

from evsim.charge_point.hardware import Cable, Hardware
from evsim.errors import UserError
from evsim.frames import StartCharging, StopCharging

BY_HAND = Hardware(cable=Cable.BY_HAND)


def test_the_cable_first_then_the_tag_then_the_tag_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, hardware=BY_HAND) as it:
            await it.connect()
            it.cp.plug()
            await asyncio.sleep(1)
            assert await it.cp.tag("TAG") == "charging begins"
            it.current_a = 20
            await asyncio.sleep(5)
            assert await it.cp.tag("tag") == "charging ends"
            await asyncio.sleep(1)
            assert it.central.statuses == ["Available", "Preparing", "Charging", "Finishing"]
            it.cp.unplug()
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Available"
            (stop,) = it.central.all("StopTransaction")
            assert (stop["reason"], stop["id_tag"]) == ("Local", "tag")

    play(test())


def test_without_a_cable_the_start_times_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(
            tmp_path, hardware=BY_HAND, configuration={"ConnectionTimeOut": "30"}
        ) as it:
            await it.connect()
            assert await it.cp.tag("TAG") == "accepted; plug the cable in within 30 s"
            await asyncio.sleep(29)
            assert it.central.statuses[-1] == "Preparing"
            await asyncio.sleep(2)
            assert it.central.statuses[-1] == "Available"
            assert not it.central.all("StartTransaction")
            assert await it.central.start_remotely() == "Accepted"
            await asyncio.sleep(10)
            it.cp.plug()
            await asyncio.sleep(1)
            assert len(it.central.all("StartTransaction")) == 1

    play(test())


@pytest.mark.parametrize("stops", ["true", "false"])
def test_a_cable_pulled_out_of_the_car(tmp_path: Path, stops: str) -> None:
    async def test() -> None:
        keys = {"StopTransactionOnEVSideDisconnect": stops}
        async with bench(tmp_path, hardware=BY_HAND, configuration=keys) as it:
            await it.connect()
            it.cp.plug()
            await it.cp.tag("TAG")
            await asyncio.sleep(2)
            it.cp.unplug()
            await asyncio.sleep(1)
            assert isinstance(it.node.sent[-1][1], StopCharging)
            if stops == "true":
                assert it.central.statuses[-2:] == ["Finishing", "Available"]
                assert it.central.all("StopTransaction")[0]["reason"] == "EVDisconnected"
                return
            assert it.central.statuses[-1] == "SuspendedEV"
            it.cp.plug()
            await asyncio.sleep(1)
            assert isinstance(it.node.sent[-1][1], StartCharging)
            assert it.central.statuses[-1] == "Charging"
            assert not it.central.all("StopTransaction")

    play(test())


def test_a_cable_that_stays_locked_opens_for_its_tag(tmp_path: Path) -> None:
    async def test() -> None:
        keys = {"UnlockConnectorOnEVSideDisconnect": "false"}
        async with bench(tmp_path, hardware=BY_HAND, configuration=keys) as it:
            await it.connect()
            it.cp.plug()
            await it.cp.tag("TAG")
            await asyncio.sleep(2)
            it.cp.unplug()
            await asyncio.sleep(10)
            assert it.central.statuses[-1] == "Finishing"
            assert await it.cp.tag("OTHER") == "connector 1 is Finishing"
            assert await it.cp.tag("TAG") == "the cable is unlocked"
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Available"

    play(test())


def test_a_lock_that_fails_lets_nobody_charge(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, hardware=Hardware(lock_fails=True)) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(2)
            last = it.central.all("StatusNotification")[-1]
            assert (last["status"], last["error_code"]) == ("Faulted", "ConnectorLockFailure")
            assert not it.central.all("StartTransaction")
            answer = await it.central.call(call.UnlockConnector(1))
            assert answer.status == "UnlockFailed"
            it.cp.clear()
            await asyncio.sleep(1)
            assert it.central.statuses[-1] != "Faulted"

    play(test())


def test_a_car_that_takes_nothing_is_said_to(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(4)
            assert it.central.statuses[-1] == "Charging"
            await asyncio.sleep(3)
            assert it.central.statuses[-1] == "SuspendedEV"
            it.current_a = 1
            await asyncio.sleep(2)
            assert it.central.statuses[-1] == "Charging"
            await it.central.limit((0, 0))
            it.current_a = 0
            await asyncio.sleep(20)
            assert it.central.statuses[-1] == "SuspendedEVSE"

    play(test())


def test_a_fault_ends_the_transaction_and_is_told_with_its_code(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(2)
            it.cp.fault("GroundFailure")
            await asyncio.sleep(1)
            last = it.central.all("StatusNotification")[-1]
            assert (last["status"], last["error_code"]) == ("Faulted", "GroundFailure")
            assert it.central.all("StopTransaction")[0]["reason"] == "Other"
            assert await it.central.start_remotely() == "Rejected"
            it.cp.clear()
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Available"
            with pytest.raises(UserError, match="known are: ConnectorLockFailure"):
                it.cp.fault("Nonsense")

    play(test())


@pytest.mark.parametrize("kind", ["Soft", "Hard"])
def test_a_reset_ends_the_transaction_and_boots_again(tmp_path: Path, kind: Any) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.stay_connected()
            await it.central.start_remotely()
            await asyncio.sleep(5)
            assert (await it.central.call(call.Reset(kind))).status == "Accepted"
            await asyncio.sleep(10)
            (stop,) = it.central.all("StopTransaction")
            assert stop["reason"] == f"{kind}Reset"
            actions = [action for _, action, _ in it.central.got]
            assert actions.count("BootNotification") == 2
            after_boot = actions[len(actions) - actions[::-1].index("BootNotification") :]
            assert after_boot[:2] == ["StatusNotification"] * 2
            assert await it.central.start_remotely() == "Accepted"

    play(test())


@pytest.mark.parametrize("announced", [False, True])
def test_a_power_cut_ends_the_transaction_sooner_or_later(tmp_path: Path, announced: bool) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.stay_connected()
            await it.central.start_remotely()
            await asyncio.sleep(5)
            it.cp.power_cut(announced=announced)
            await asyncio.sleep(0.5)
            assert len(it.central.all("StopTransaction")) == int(announced)
            with pytest.raises(UserError, match="no power"):
                await it.cp.tag("TAG")
            with pytest.raises(UserError, match="already"):
                it.cp.power_cut()
            assert "no power" in it.cp.status()
            await asyncio.sleep(20)
            (stop,) = it.central.all("StopTransaction")
            assert stop["reason"] == "PowerLoss"
            boots_s = [at_s for at_s, action, _ in it.central.got if action == "BootNotification"]
            assert len(boots_s) == 2
            stops_s = next(
                at_s for at_s, action, _ in it.central.got if action == "StopTransaction"
            )
            assert (stops_s < boots_s[1]) is announced
            assert await it.central.start_remotely() == "Accepted"
            await asyncio.sleep(2)
            assert it.central.statuses[-1] == "Charging"

    play(test())


def test_out_of_service_is_kept_and_waits_for_the_transaction(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            change = call.ChangeAvailability(0, "Inoperative")  # type: ignore[arg-type]
            assert (await it.central.call(change)).status == "Scheduled"
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Charging"
            await it.central.stop_remotely(2)
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Unavailable"
            assert it.central.all("StatusNotification")[-1]["status"] == "Unavailable"
            assert await it.central.start_remotely() == "Rejected"
            assert await it.cp.tag("TAG") == "connector 1 is Unavailable"

    async def later() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert [p["status"] for p in it.central.all("StatusNotification")] == [
                "Unavailable"
            ] * 2
            change = call.ChangeAvailability(0, "Operative")  # type: ignore[arg-type]
            assert (await it.central.call(change)).status == "Accepted"
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Available"
            change = call.ChangeAvailability(7, "Operative")  # type: ignore[arg-type]
            assert (await it.central.call(change)).status == "Rejected"

    play(test())
    play(later())


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            with pytest.raises(UserError, match="no cable"):
                it.cp.unplug()
            it.cp.plug()
            with pytest.raises(UserError, match="already"):
                it.cp.plug()

    play(test())


def test_a_cable_plugged_in_by_a_person_stays_after_the_transaction(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.cp.plug()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            await it.central.stop_remotely(2)
            await asyncio.sleep(60)
            assert it.central.statuses[-1] == "Finishing"
            it.cp.unplug()
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Available"

    play(test())


def test_the_same_cable_may_charge_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.cp.plug()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            await it.central.stop_remotely(2)
            await asyncio.sleep(1)
            it.central.tag_status = "Blocked"
            assert "may not" in await it.cp.tag("TAG")
            await asyncio.sleep(1)
            assert it.central.statuses[-2:] == ["Preparing", "Finishing"]
            it.central.tag_status = "Accepted"
            assert await it.central.start_remotely() == "Accepted"
            await asyncio.sleep(1)
            assert it.central.statuses[-3:] == ["Finishing", "Preparing", "Charging"]
            it.cp.unplug()
            await asyncio.sleep(1)
            assert it.central.statuses[-2:] == ["Finishing", "Available"]

    play(test())


def test_out_of_service_ends_what_the_cable_could_begin_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.cp.plug()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            await it.central.call(call.ChangeAvailability(1, "Inoperative"))  # type: ignore[arg-type]
            await it.central.stop_remotely(2)
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Finishing"
            assert await it.central.start_remotely() == "Rejected"

    play(test())


def test_while_rejected_nothing_is_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.boots = [("Rejected", 30), ("Pending", 40), ("Accepted", 10)]
            await it.connect()
            with pytest.raises(TimeoutError):
                await it.central.start_remotely()
            await asyncio.sleep(30)
            answer = await it.central.call(call.GetConfiguration(["NumberOfConnectors"]))
            assert answer.configuration_key[0]["value"] == "1"
            trigger = call.TriggerMessage("BootNotification")  # type: ignore[arg-type]
            assert (await it.central.call(trigger)).status == "Accepted"
            await asyncio.sleep(1)
            assert len(it.central.all("BootNotification")) == 3
            await asyncio.sleep(60)
            assert len(it.central.all("BootNotification")) == 3

    play(test())


@pytest.mark.parametrize("when_s", [0.0, 0.5, 1.5])
def test_no_tag_begins_a_transaction_in_a_restart(tmp_path: Path, when_s: float) -> None:
    """Neither one that is being authorised by then, nor one that is held to the reader later."""

    async def test() -> None:
        more = {"AllowOfflineTxForUnknownId": "true"}
        async with bench(tmp_path, configuration=more) as it:
            await it.stay_connected()
            await it.cp.tag("TAG")
            await asyncio.sleep(1)
            it.central.stop_delay_s = it.central.authorize_delay_s = 1.0
            tags: list[str] = []

            async def hold_tags() -> None:
                await it.central.stop_remotely(2)
                await asyncio.sleep(0.01)
                with contextlib.suppress(UserError):
                    tags.append(await it.cp.tag("OTHER"))

            asked = asyncio.create_task(hold_tags()) if when_s == 0 else None
            await asyncio.sleep(0.1)
            await it.central.call(call.Reset("Soft"))  # type: ignore[arg-type]
            if asked is None:
                await asyncio.sleep(when_s)
                asked = asyncio.create_task(hold_tags())
            await asyncio.sleep(60)
            assert asked.done()
            assert "charging begins" not in tags
            assert len(it.central.all("StartTransaction")) == 1
            assert it.central.statuses[-1] == "Available"
            assert await it.central.start_remotely() == "Accepted"

    play(test())


def test_a_tag_that_comes_after_the_end_was_asked_for_did_not_end_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.cp.fault("GroundFailure")
            await it.cp.tag("tag")
            await asyncio.sleep(1)
            (stop,) = it.central.all("StopTransaction")
            assert (stop["reason"], stop["id_tag"]) == ("Other", "TAG")

    play(test())


def test_a_start_that_is_called_off_leaves_its_question_on_the_link(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, hardware=BY_HAND) as it:
            await it.connect()
            it.central.authorize_delay_s = 2.0
            tag = asyncio.create_task(it.cp.tag("TAG"))
            await asyncio.sleep(0.5)
            unlock = asyncio.create_task(it.central.call(call.UnlockConnector(1)))
            assert await tag == "the start was called off"
            it.cp.plug()
            await asyncio.sleep(10)
            assert (await unlock).status == "Unlocked"
            assert it.central.statuses == ["Available", "Preparing", "Available", "Preparing"]
            assert not it.cp.troubles

    play(test())


def test_a_cable_plugged_in_again_as_the_transaction_ends_charges_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        more = {"StopTransactionOnEVSideDisconnect": "false"}
        async with bench(tmp_path, hardware=BY_HAND, configuration=more) as it:
            await it.connect()
            it.cp.plug()
            await it.cp.tag("TAG")
            await asyncio.sleep(5)
            it.cp.unplug()
            start_s = it.loop.time()
            it.cp.plug()  # at once: the charger still has to wait a moment after its stop
            await asyncio.sleep(0.01)
            assert await it.central.stop_remotely(2) == "Accepted"
            await asyncio.sleep(5)
            assert StartCharging() not in [frame for _, frame in it.node.since(start_s)]
            assert it.central.statuses[-1] == "Finishing"

    play(test())


def test_who_is_accepted_no_longer_falls_silent_until_it_is_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.boots = [("Accepted", 10), ("Pending", 40), ("Accepted", 10)]
            await it.connect()
            trigger = call.TriggerMessage("BootNotification")  # type: ignore[arg-type]
            assert (await it.central.call(trigger)).status == "Accepted"
            await asyncio.sleep(1)
            told = len(it.central.got)
            assert await it.central.start_remotely() == "Rejected"
            it.cp.fault("GroundFailure")
            await asyncio.sleep(38)
            assert len(it.central.got) == told
            await asyncio.sleep(15)
            actions = [action for _, action, _ in it.central.got[told:]]
            assert actions == ["BootNotification", *["StatusNotification"] * 2, "Heartbeat"]
            assert it.central.statuses[-1] == "Faulted"

    play(test())


def test_while_it_restarts_nothing_begins_and_it_comes_back_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.stay_connected()
            await it.central.start_remotely()
            await asyncio.sleep(2)
            it.central.stop_delay_s = 1
            reset = call.Reset("Soft")  # type: ignore[arg-type]
            assert (await it.central.call(reset)).status == "Accepted"
            await asyncio.sleep(0.5)
            assert (await it.central.call(reset)).status == "Rejected"
            assert await it.central.start_remotely() == "Rejected"
            await asyncio.sleep(20)
            assert len(it.central.all("BootNotification")) == 2
            assert await it.central.start_remotely() == "Accepted"

    play(test())


def test_a_fault_before_the_cable_comes_ends_the_start(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, hardware=BY_HAND) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.cp.fault("GroundFailure")
            it.cp.plug()
            await asyncio.sleep(1)
            assert not it.central.all("StartTransaction")
            it.cp.clear()
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Preparing"  # the cable is still there
            assert await it.central.start_remotely() == "Accepted"

    play(test())


def test_a_cable_pulled_while_the_start_is_answered_gets_no_current(tmp_path: Path) -> None:
    async def test() -> None:
        keys = {"StopTransactionOnEVSideDisconnect": "false"}
        async with bench(tmp_path, hardware=BY_HAND, configuration=keys) as it:
            it.central.start_delay_s = 2
            await it.connect()
            it.cp.plug()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.cp.unplug()
            await asyncio.sleep(5)
            assert StartCharging() not in [frame for _, frame in it.node.sent]
            assert it.central.statuses[-1] == "SuspendedEV"
            it.cp.plug()
            await asyncio.sleep(1)
            assert it.central.statuses[-1] == "Charging"

    play(test())


def test_the_power_goes_while_a_tag_is_asked_about(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.stay_connected()
            it.central.authorize_delay_s = 1
            tag = asyncio.create_task(it.cp.tag("TAG"))
            await asyncio.sleep(0.5)
            it.cp.power_cut()
            assert await tag == "the start was called off"
            await asyncio.sleep(20)
            assert not it.central.all("StartTransaction")
            assert it.central.statuses[-1] == "Available"

    play(test())
