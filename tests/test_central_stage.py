"""What csms.py plays besides the base scenario, with real charge points in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charger_module import ChargerModule
from cp import ChargePoint
from csms import CentralSystem, send_anomaly
from evsim import virtual_time
from evsim.anomalies import anomaly_named
from evsim.anomalies.base import Severity
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS, PowerModule
from evsim.in_memory import InMemoryBus, InMemoryNode, websocket_pair
from evsim.labels import Label
from evsim.live.central_stage import CentralStage, current_of
from evsim.live.options import Playing
from evsim.live.recording import Recording
from evsim.recording.reading import read_labels
from evsim.sqlite import IN_MEMORY


class Bench:
    """A central system with a stage; charge points come and go."""

    def __init__(self, directory: Path, benign: str | None, playing: Playing | None) -> None:
        self._stack = contextlib.ExitStack()
        self.recording = self._stack.enter_context(Recording(directory, ocpp=True))
        self.directory = directory
        self.calls: list[tuple[float, str, str, Any]] = []
        now = virtual_time.clock()
        ledger = self._stack.enter_context(contextlib.closing(CentralLedger(IN_MEMORY)))
        self.stage = CentralStage(
            benign,
            playing,
            self.recording,
            cycle=send_anomaly,
            invalidate_tag=lambda tag: None,
            now_s=lambda: now().timestamp(),
        )
        self.central = CentralSystem(
            ledger, cycles=0, play=self.stage.play, record=self, wires=self.stage.wire, now=now
        )
        self.now = now
        self.tasks = [asyncio.create_task(self.stage.run())]

    def ocpp(self, charge_point_id: str, sent: bool, message: list[Any] | str) -> None:
        if sent and message[0] == 2:
            time_s = asyncio.get_running_loop().time()
            self.calls.append((time_s, charge_point_id, message[2], message[3]))
        self.stage.ocpp(charge_point_id, sent, message)

    def link(self, charge_point_id: str, event: str) -> None:
        self.stage.link(charge_point_id, event)

    def charge_point(self, name: str) -> asyncio.Task[Any]:
        """Let a charge point come; cancelled, it is gone."""
        bus = InMemoryBus()
        charger = ChargerModule(PowerModule(PLANTS["dc"]), InMemoryNode(bus))
        ledger = self._stack.enter_context(contextlib.closing(Ledger(IN_MEMORY)))
        point = ChargePoint(
            name, node=InMemoryNode(bus), ledger=ledger, plant=PLANTS["dc"], now=self.now
        )

        async def connect() -> None:
            ours, theirs = websocket_pair()
            await asyncio.gather(self.central.talk(name, ours), point.talk(theirs))

        self.tasks.append(asyncio.create_task(charger.run()))
        task = asyncio.create_task(point.run(connect()))
        self.tasks.append(task)
        return task

    def limits(self, name: str) -> list[float]:
        return [
            payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]
            for _, charge_point, action, payload in self.calls
            if charge_point == name and action == "SetChargingProfile"
        ]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self._stack.close()


def play(
    directory: Path,
    story: Callable[[Bench], Any],
    *,
    benign: str | None = None,
    playing: Playing | None = None,
) -> tuple[Bench, list[Label]]:
    """Let `story` happen on a bench; give that and its labels."""
    benches = []

    async def main() -> None:
        bench = Bench(directory, benign, playing)
        benches.append(bench)
        await story(bench)
        await bench.close()

    virtual_time.run(main())
    return benches[0], read_labels(directory) if (directory / "labels.csv").exists() else []


def playing(name: str, target: str | None = None, **chosen: float) -> Playing:
    anomaly = anomaly_named(name)
    values = anomaly.values(Severity.MEDIUM, chosen)
    return Playing(anomaly, Severity.MEDIUM, values, 20.0, target)


def test_the_base_scenarios_cycles_are_played_between_two_sessions(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.charge_point("CP_1")
        await asyncio.sleep(200)

    bench, (label,) = play(tmp_path, story, playing=playing("repeated_fluctuation", cycles=2))
    first, *cycles, after = bench.limits("CP_1")
    assert cycles == [0, 100] * 2
    assert first >= 40
    assert after >= 40
    assert label.t_end_s - label.t_start_s == pytest.approx(16, abs=0.5)
    assert label.effect_start_s is not None
    assert label.t_start_s <= label.effect_start_s


def test_a_fleets_anomaly_waits_for_a_second_charge_point(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.charge_point("CP_2")
        await asyncio.sleep(100)
        assert not (bench.directory / "labels.csv").exists()
        bench.charge_point("CP_1")
        await asyncio.sleep(150)

    chosen = playing("mass_on_off", share=1.0, hold_s=10.0)
    bench, (label,) = play(tmp_path, story, playing=chosen)
    assert label.target == "CP_1;CP_2"
    stopped = {name for _, name, action, _ in bench.calls if action == "RemoteStopTransaction"}
    assert stopped == {"CP_1", "CP_2"}


def test_who_leaves_is_asked_for_nothing_and_who_is_back_charges_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(bench: Bench) -> None:
        first = bench.charge_point("CP_1")
        await asyncio.sleep(20)
        first.cancel()
        await asyncio.sleep(3000)  # beyond the session's end
        bench.calls.append((0.0, "CP_1", "is gone", None))
        bench.charge_point("CP_1")
        await asyncio.sleep(20)

    bench, labels = play(tmp_path, story, benign="plain_session")
    asked = [action for _, _, action, _ in bench.calls]
    session = ["GetConfiguration", "SetChargingProfile", "RemoteStartTransaction"]
    assert asked == [*session, "is gone", *session]
    assert "is not connected" not in caplog.text
    assert not labels


def test_only_the_target_has_a_man_in_the_middle(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        assert bench.stage.wire("CP_1") is None
        assert bench.stage.wire("CP_2") is not None
        bench.charge_point("CP_1")
        bench.charge_point("CP_2")
        await asyncio.sleep(60)

    chosen = playing("meter_scaling", "CP_2", duration_s=10.0)
    _, (label,) = play(tmp_path, story, playing=chosen)
    assert label.target == "CP_2"


@pytest.mark.parametrize(
    ("payload", "current_a"),
    [
        ({"meterValue": [{"sampledValue": [{"value": "7", "measurand": "SoC"}]}]}, None),
        (
            {
                "meterValue": [
                    {
                        "sampledValue": [
                            {"value": "7"},
                            {"value": "3.5", "measurand": "Current.Import"},
                        ]
                    }
                ]
            },
            3.5,
        ),
        ({"meterValue": []}, None),
        ({"meterValue": [{"sampledValue": [{"value": "x", "measurand": "Current.Import"}]}]}, None),
        ({"meterValue": 5}, None),
        ({"meterValue": ["sampledValue"]}, None),
        ([], None),
    ],
)
def test_a_current_is_read_whatever_is_sent(payload: object, current_a: float | None) -> None:
    assert current_of(payload) == current_a
