"""charger_module.py as a process on a bus: obeys, keeps its cadence, survives garbage, stops."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import can
import pytest
from conftest import Script, StartScript

from evsim.bus import EvsimBus
from evsim.frames import (
    Frame,
    FrameError,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StopCharging,
    decode,
    encode,
)

pytestmark = pytest.mark.processes

READY = "Listening for CAN commands"


class Peer:
    """The charge point's end of the bus."""

    def __init__(self, channel: str) -> None:
        self.bus = EvsimBus(channel)

    def send(self, *frames: Frame) -> None:
        for frame in frames:
            self.bus.send(encode(frame))

    def measured(self) -> tuple[float, int]:
        """Wait for the next 0x300: when it came, and its amperes."""
        message = self.bus.recv(5.0)
        assert message is not None, "the charger is silent"
        frame = decode(message)
        assert isinstance(frame, MeasuredCurrent)
        return message.timestamp, frame.current_a

    def wait_for_current(self, current_a: int) -> None:
        """Wait until the charger reports `current_a`; no later than in its fourth frame."""
        seen: list[int] = []
        while (not seen or seen[-1] != current_a) and len(seen) < 4:
            seen.append(self.measured()[1])
        assert seen[-1] == current_a, seen


@pytest.fixture
def peer(can_channel: str) -> Iterator[Peer]:
    peer = Peer(can_channel)
    yield peer
    peer.bus.shutdown()


@pytest.fixture
def charger(peer: Peer, start_script: StartScript) -> Callable[..., Script]:
    def start(*arguments: str) -> Script:
        script = start_script("charger_module.py", *arguments)
        script.wait_for(READY)
        return script

    return start


def test_it_obeys_start_limit_and_stop(charger: Callable[..., Script], peer: Peer) -> None:
    script = charger()
    assert peer.measured()[1] == 0
    peer.send(SetLimit(100), StartCharging())
    script.wait_for("start: up to 100 A")
    peer.wait_for_current(100)
    peer.send(SetLimit(16))
    peer.wait_for_current(16)
    peer.send(StopCharging())
    script.wait_for("stop at 16 A")
    peer.wait_for_current(0)
    peer.send(StopCharging(), StartCharging())
    script.wait_for("a stop wins")


def test_the_cadence_does_not_drift(charger: Callable[..., Script], peer: Peer) -> None:
    charger()
    stamps_s = [peer.measured()[0] for _ in range(11)]
    # Late frames are the machine's; a loop that sleeps 1 s after its work drifts a bit each time.
    lateness_s = [stamp_s - stamps_s[0] - count for count, stamp_s in enumerate(stamps_s)]
    assert abs(sorted(lateness_s)[len(lateness_s) // 2]) < 0.05, lateness_s
    assert max(map(abs, lateness_s)) < 0.5, lateness_s


def test_garbage_on_the_bus_does_not_stop_it(charger: Callable[..., Script], peer: Peer) -> None:
    script = charger("--plant", "ideal")
    for _ in range(20):
        peer.bus._multicast.send(b"\x91" * 4000)
        peer.bus._multicast.send(b"no msgpack")
        for wrong in (
            can.Message(arbitration_id=0x200, is_extended_id=True),
            can.Message(arbitration_id=0x200, is_extended_id=False, data=b"\1"),
            can.Message(arbitration_id=0x200, is_extended_id=False, is_remote_frame=True),
            can.Message(arbitration_id=0x200, is_extended_id=False, is_error_frame=True),
            can.Message(arbitration_id=0x7FF, is_extended_id=False),
        ):
            with pytest.raises(FrameError):
                decode(wrong)
            peer.bus.send(wrong)
    peer.measured()
    assert peer.measured()[1] == 0, "none of this was a start"
    peer.send(SetLimit(10), StartCharging())
    peer.wait_for_current(10)
    warnings = [line for line in script.lines if "warning: " in line]
    assert len(warnings) == 6, warnings
    assert script.stop() == 0
    assert "Traceback" not in script.output


def test_a_limit_above_the_rated_maximum_is_clamped(
    charger: Callable[..., Script], peer: Peer
) -> None:
    script = charger("--plant", "ideal")
    peer.send(SetLimit(200), StartCharging())
    assert "clamped to 150 A" in script.wait_for("warning: limit 200 A")
    peer.wait_for_current(150)


def test_noise_is_the_same_for_the_same_seed(charger: Callable[..., Script], peer: Peer) -> None:
    readings = []
    for _ in range(2):
        script = charger("--noise", "20", "--seed", "7")
        readings.append([peer.measured()[1] for _ in range(2)])
        script.kill()
        while peer.bus.recv(0) is not None:
            pass
    assert readings[0] == readings[1]
    assert any(readings[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly(charger: Callable[..., Script], number: signal.Signals) -> None:
    script = charger()
    script.send_signal(number)
    assert script.wait() == 0
    assert len(script.lines) == 1, script.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--plant", "wrong"), 2, "invalid choice: 'wrong'"),
        (("--noise", "-1"), 2, "not a number from 0 up"),
        (("--noise", "nan"), 2, "not a number from 0 up"),
        (("--can-interface", "wrong"), 1, "cannot open CAN interface 'wrong'"),
        (("--can-channel", "vcan0"), 1, "not an IPv4 multicast address"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    start_script: StartScript, arguments: tuple[str, ...], code: int, said: str
) -> None:
    script = start_script("charger_module.py", *arguments)
    assert script.wait() == code
    assert said in script.lines[-1]
    if code == 1:
        assert len(script.lines) == 1
    assert "Traceback" not in script.output
