"""attack_can.py as a process: what its gateway passes on, and how it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import can
import pytest
from conftest import Script, StartScript

from evsim import virtual_time
from evsim.bus import open_bus
from evsim.can_gateway import CanGateway
from evsim.frames import CURRENT_ID, MeasuredCurrent, SetLimit, decode, encode
from evsim.in_memory import InMemoryBus, InMemoryNode
from evsim.recording.reading import read_labels

pytestmark = [pytest.mark.processes, pytest.mark.timeout(60)]

#: What no program of ours sends must pass too.
MESSAGES = [
    encode(MeasuredCurrent(70)),
    encode(SetLimit(32)),
    can.Message(arbitration_id=0x7FF, data=b"\1\2\3", is_extended_id=False),
    can.Message(arbitration_id=0x1ABCDEF, data=bytes(8), is_extended_id=True),
    can.Message(arbitration_id=CURRENT_ID, is_remote_frame=True, dlc=2, is_extended_id=False),
]


class Buses:
    """The bus of all, and the charger's own."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.beside = channel.replace("239.74.", "239.75.")
        self.all, self.charger = open_bus("evsim", channel), open_bus("evsim", self.beside)


@pytest.fixture
def buses(can_channel: str) -> Iterator[Buses]:
    buses = Buses(can_channel)
    yield buses
    buses.all.shutdown()
    buses.charger.shutdown()


def attack(start: StartScript, *arguments: str) -> Script:
    attacker = start("attack_can.py", *arguments)
    attacker.wait_for("Attacking the CAN bus")
    return attacker


def said(message: can.Message | None) -> tuple[int, bool, bool, int, bytes]:
    assert message is not None, "nothing came through"
    kind = (message.is_extended_id, message.is_remote_frame)
    return message.arbitration_id, *kind, message.dlc, bytes(message.data)


def test_a_gateway_that_does_nothing_yet_passes_all_both_ways(
    start_script: StartScript, buses: Buses
) -> None:
    attack(
        start_script,
        *("--anomaly", "can_masquerade", "--after", "1000", "--charger-channel", buses.beside),
    )
    for here, there in ((buses.charger, buses.all), (buses.all, buses.charger)):
        for message in MESSAGES:
            here.send(message)
            assert said(there.recv(5)) == said(message)
        assert here.recv(0.1) is None  # nothing comes back


def test_a_gateway_goes_on_when_the_anomaly_is_over(
    start_script: StartScript, buses: Buses
) -> None:
    attacker = attack(
        start_script,
        *("--anomaly", "can_suppress", "--after", "0", "--parameter", "duration_s=1"),
        *("--charger-channel", buses.beside),
    )
    buses.charger.send(encode(MeasuredCurrent(70)))
    assert buses.all.recv(5) is not None  # now it knows that the charging has begun
    attacker.wait_for("can_suppress (severity medium: duration_s 1)")
    buses.charger.send(encode(MeasuredCurrent(70)))
    buses.charger.send(MESSAGES[2])
    assert said(buses.all.recv(5)) == said(MESSAGES[2])  # only 0x300 is kept back
    attacker.wait_for("can_suppress is over")
    buses.charger.send(encode(MeasuredCurrent(71)))
    assert said(buses.all.recv(5)) == said(encode(MeasuredCurrent(71)))
    assert attacker.exit_code is None


def test_once_is_once(start_script: StartScript, buses: Buses, tmp_path: Path) -> None:
    attacker = attack(
        start_script,
        *("--anomaly", "can_fuzzing", "--after", "0", "--parameter", "duration_s=0.5", "--once"),
        *("--parameter", "rate_per_s=100", "--record", str(tmp_path), "--target", "CP_7"),
    )
    assert attacker.wait() == 0
    assert attacker.lines[-1].endswith("CP_7: can_fuzzing is over")
    (label,) = read_labels(tmp_path)
    assert (label.anomaly, label.target, label.severity) == ("can_fuzzing", "CP_7", "medium")
    heard = 0
    while buses.all.recv(0.1) is not None:
        heard += 1
    assert heard > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_it_quietly_with_its_label(
    start_script: StartScript, tmp_path: Path, number: int
) -> None:
    attacker = attack(
        start_script, *("--anomaly", "can_fuzzing", "--after", "0", "--record", str(tmp_path))
    )
    attacker.wait_for("can_fuzzing (severity medium")
    attacker.send_signal(number)
    assert attacker.wait() == 0
    assert "Traceback" not in attacker.output
    (label,) = read_labels(tmp_path)
    assert label.t_end_s - label.t_start_s < 10
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_the_chargers_bus_must_be_another_one(start_script: StartScript, can_channel: str) -> None:
    attacker = start_script(
        "attack_can.py", "--anomaly", "can_drift", "--charger-channel", can_channel
    )
    assert attacker.wait() == 1
    (line,) = attacker.lines
    assert "is the bus that all others are on" in line


def test_a_channel_that_is_none_is_one_clear_line(start_script: StartScript) -> None:
    attacker = start_script("attack_can.py", "--anomaly", "can_drift", "--charger-channel", "vcan0")
    assert attacker.wait() == 1
    (line,) = attacker.lines
    assert "'vcan0' is not an IPv4 multicast address" in line


def test_a_gateway_changes_what_the_charger_says_and_nothing_else() -> None:
    async def main() -> list[list[can.Message]]:
        inner, outer = InMemoryBus(), InMemoryBus()
        heard: list[list[can.Message]] = [[], []]
        inner.taps.append(heard[0].append)
        outer.taps.append(heard[1].append)
        gateway = CanGateway(InMemoryNode(inner), InMemoryNode(outer))
        gateway.rewrite = lambda message: (
            encode(MeasuredCurrent(0)) if message.arbitration_id == CURRENT_ID else None
        )
        charger, others = InMemoryNode(inner), InMemoryNode(outer)
        charger.send(MeasuredCurrent(70))
        charger.send(SetLimit(1))
        others.send(MeasuredCurrent(50))
        await asyncio.sleep(1)
        return heard

    inside, outside = virtual_time.run(main())
    assert [decode(message) for message in inside] == [
        *(MeasuredCurrent(70), SetLimit(1), MeasuredCurrent(50))
    ]
    assert [decode(message) for message in outside] == [MeasuredCurrent(50), MeasuredCurrent(0)]
