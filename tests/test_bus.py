"""The CAN bus: which one is opened, what the default one lets in, and a node on it."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import can
import msgpack
import pytest
from can.interfaces.udp_multicast import UdpMulticastBus
from can.interfaces.udp_multicast.utils import pack_message
from conftest import StartScript
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evsim.bus import DEFAULT_PORT, BusError, EvsimBus, configured, open_bus
from evsim.can_node import CanNode
from evsim.frames import Frame, MeasuredCurrent, SetLimit, StartCharging, StopCharging, encode

#: Nothing on loopback takes longer.
ARRIVAL_S = 5.0
#: To see that something does not arrive. What is sent after it proves that it would have by then.
MARKER = SetLimit(4711)


@contextmanager
def two_buses(channel: str) -> Iterator[tuple[EvsimBus, EvsimBus]]:
    with EvsimBus(channel) as one, EvsimBus(channel) as other:
        yield one, other


def received(bus: can.BusABC) -> tuple[int, bytes]:
    message = bus.recv(ARRIVAL_S)
    assert message is not None, "nothing arrived"
    return message.arbitration_id, bytes(message.data)


def as_received(frame: Frame) -> tuple[int, bytes]:
    message = encode(frame)
    return message.arbitration_id, bytes(message.data)


def send_datagram(channel: str, datagram: bytes) -> None:
    """Send anything to the group, as a member of the bus would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        loopback = socket.inet_aton("127.0.0.1")
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
        sender.sendto(datagram, (channel, DEFAULT_PORT))


# ── The default bus ──────────────────────────────────────────────────────────────────────────


def test_a_frame_reaches_the_others_but_not_the_sender(can_channel: str) -> None:
    with two_buses(can_channel) as (one, other):
        one.send(encode(StartCharging()))
        other.send(encode(MARKER))
        assert received(other) == as_received(StartCharging())
        assert received(one) == as_received(MARKER)


def test_own_frames_are_received_when_asked_for(can_channel: str) -> None:
    with EvsimBus(can_channel, receive_own_messages=True) as bus:
        bus.send(encode(SetLimit(7)))
        assert received(bus) == as_received(SetLimit(7))


def test_another_group_is_another_bus(can_channel: str) -> None:
    with two_buses(can_channel) as (one, other), EvsimBus("239.74.165.200") as elsewhere:
        elsewhere.send(encode(StartCharging()))
        one.send(encode(MARKER))
        assert received(other) == as_received(MARKER)


def test_a_received_frame_has_a_time_stamp(can_channel: str) -> None:
    with two_buses(can_channel) as (one, other):
        one.send(encode(SetLimit(1)))
        first = other.recv(ARRIVAL_S)
        one.send(encode(SetLimit(1)))
        second = other.recv(ARRIVAL_S)
        assert first is not None
        assert second is not None
        assert 1e9 < first.timestamp <= second.timestamp


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can't bind to a group")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3"])
def test_a_unicast_datagram_to_the_port_is_not_delivered(can_channel: str, address: str) -> None:
    with two_buses(can_channel) as (one, other):
        for _ in range(32):  # each from a port of its own: the system would spread them
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(pack_message(encode(StartCharging())), (address, DEFAULT_PORT))
        one.send(encode(MARKER))
        other.send(encode(MARKER))
        assert received(other) == received(one) == as_received(MARKER)


def test_classic_can_takes_no_fd_frames(can_channel: str) -> None:
    fd_frame = can.Message(arbitration_id=0x300, is_extended_id=False, is_fd=True, data=bytes(64))
    with two_buses(can_channel) as (one, other):
        with pytest.raises(can.CanOperationError, match="FD"):
            one.send(fd_frame)
        send_datagram(can_channel, pack_message(fd_frame))
        one.send(encode(MARKER))
        assert received(other) == as_received(MARKER)


GOOD_FIELDS: dict[str, Any] = {
    "timestamp": 0.0,
    "arbitration_id": 0x200,
    "is_extended_id": False,
    "is_remote_frame": False,
    "is_error_frame": False,
    "channel": None,
    "dlc": 0,
    "data": b"",
    "is_fd": False,
    "bitrate_switch": False,
    "error_state_indicator": False,
}

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello\n",
    "not msgpack": b"\xc1",
    "nested too deep": b"\x91" * 4000,
    "claims a huge array": b"\xdd\xff\xff\xff\xff",
    "longer than any frame": bytes(60_000),
    "number": msgpack.packb(5),
    "array": msgpack.packb([1, 2]),
    "no fields": msgpack.packb({}),
    "keys of other types": msgpack.packb({1: 2, None: 3}),
    "bad timestamp ext": b"\xc7\x0c\xff" + b"\xff" * 12,
    **{
        f"{name} is {value!r:.20}": msgpack.packb(GOOD_FIELDS | {name: value})
        for name, value in [
            ("data", 10**9),
            ("data", "text"),
            ("data", [0x64, 0]),
            ("data", [300]),
            ("data", None),
            ("data", b"too long for CAN"),
            ("data", b"\0"),
            ("dlc", 2**63),
            ("dlc", -1),
            ("dlc", 8),
            ("dlc", "0"),
            ("arbitration_id", 2**64 - 1),
            ("arbitration_id", -1),
            ("arbitration_id", 0x800),
            ("arbitration_id", 512.0),
            ("is_extended_id", "no"),
            ("is_remote_frame", None),
            ("is_fd", 1),
        ]
    },
}


@pytest.mark.parametrize("datagram", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_datagram_is_skipped(
    can_channel: str, datagram: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with two_buses(can_channel) as (one, other):
        for _ in range(3):
            send_datagram(can_channel, datagram)
        one.send(encode(MARKER))
        assert received(other) == as_received(MARKER)
        assert other.malformed_datagrams == 3
        assert len([r for r in caplog.records if r.name == "evsim.bus"]) == 1, "said once"


def test_fields_of_no_interest_do_not_matter(can_channel: str) -> None:
    """The sender's time stamp and channel are replaced by ours, whatever they are."""
    with EvsimBus(can_channel) as bus:
        strange = GOOD_FIELDS | {"timestamp": "noon", "channel": [1], "colour": "red"}
        send_datagram(can_channel, msgpack.packb(strange))
        assert received(bus) == as_received(StartCharging())


JSONLIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NEARLY_FRAMES = st.dictionaries(st.sampled_from(sorted(GOOD_FIELDS)), JSONLIKE, max_size=3).map(
    lambda changes: msgpack.packb(GOOD_FIELDS | changes)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=300) | JSONLIKE.map(msgpack.packb) | NEARLY_FRAMES, max_size=8))
def test_no_datagram_stops_the_bus(can_channel: str, datagrams: list[bytes]) -> None:
    with two_buses(can_channel) as (one, other):
        for datagram in datagrams:
            send_datagram(can_channel, datagram)
        one.send(encode(MARKER))
        heard = [received(other)]
        while heard[-1] != as_received(MARKER):
            heard.append(received(other))
        assert len(heard) - 1 + other.malformed_datagrams == len(datagrams)


def test_the_wire_format_is_that_of_udp_multicast(can_channel: str) -> None:
    """Stock python-can on the same group, pinned to loopback, hears us and is heard."""
    with EvsimBus(can_channel) as ours, UdpMulticastBus(can_channel, hop_limit=0) as stock:
        loopback = socket.inet_aton("127.0.0.1")
        inner = stock._multicast._socket
        inner.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
        inner.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(can_channel) + loopback
        )
        stock.send(encode(SetLimit(300)))
        assert received(ours) == as_received(SetLimit(300))
        ours.send(encode(MARKER))
        heard = received(stock)
        while heard != as_received(MARKER):  # stock hears itself, and every group of its port
            heard = received(stock)


@pytest.mark.parametrize("channel", ["vcan0", "10.0.0.1", "", "ff15::1", "239.74.163"])
def test_a_channel_that_is_no_group_is_refused(channel: str) -> None:
    with pytest.raises(ValueError, match="not an IPv4 multicast address"):
        EvsimBus(channel)


@pytest.mark.processes
def test_frames_cross_processes(can_channel: str, start_script: StartScript) -> None:
    with EvsimBus(can_channel) as bus:
        charger = start_script("charger_module.py", "--plant", "ideal")
        charger.wait_for("Listening for CAN commands")
        bus.send(encode(SetLimit(42)))
        bus.send(encode(StartCharging()))
        charger.wait_for("limit 42 A")
        charger.wait_for("start: up to 42 A")
        heard = received(bus)
        while heard != as_received(MeasuredCurrent(42)):
            heard = received(bus)


# ── Which bus ────────────────────────────────────────────────────────────────────────────────

Configure = Callable[..., None]


def test_the_default_is_our_bus(no_can_configuration: Configure) -> None:
    with open_bus() as bus:
        assert isinstance(bus, EvsimBus)
        assert UdpMulticastBus.DEFAULT_GROUP_IPv4 in bus.channel_info


def test_environment_beats_the_default(no_can_configuration: Configure) -> None:
    no_can_configuration(CAN_INTERFACE="virtual", CAN_CHANNEL="here")
    with open_bus() as bus:
        assert bus.channel_info == "Virtual bus channel here"


def test_can_config_beats_the_default(no_can_configuration: Configure) -> None:
    no_can_configuration(CAN_CONFIG='{"interface": "virtual", "channel": "there"}')
    with open_bus() as bus:
        assert bus.channel_info == "Virtual bus channel there"


def test_a_configuration_file_beats_the_default(no_can_configuration: Configure) -> None:
    with open(can.util.CONFIG_FILES[0], "w") as file:
        file.write("[default]\ninterface = virtual\nchannel = filed\n")
    assert configured("interface") == "virtual"
    with open_bus() as bus:
        assert bus.channel_info == "Virtual bus channel filed"


def test_arguments_beat_everything(no_can_configuration: Configure, can_channel: str) -> None:
    no_can_configuration(CAN_INTERFACE="virtual", CAN_CHANNEL="here")
    with open_bus("evsim", can_channel) as bus:
        assert isinstance(bus, EvsimBus)
        assert can_channel in bus.channel_info


@pytest.mark.parametrize(
    ("interface", "channel", "said"),
    [
        ("wrong", None, "known are: "),
        ("evsim", "vcan0", "not an IPv4 multicast address"),
        ("socketcan", "no_such_can", "--can-channel"),
        ("udp_multicast", "not an address", "--can-channel"),
    ],
)
def test_a_bus_that_cannot_be_opened_is_one_line(
    no_can_configuration: Configure, interface: str, channel: str | None, said: str
) -> None:
    with pytest.raises(BusError) as caught:
        open_bus(interface, channel)
    message = str(caught.value)
    assert repr(interface) in message
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["not JSON", "[1]", "5", '"text"', '{"interface":'])
def test_a_can_config_that_is_no_map_is_one_line(
    no_can_configuration: Configure, text: str
) -> None:
    no_can_configuration(CAN_CONFIG=text)
    with pytest.raises(BusError, match="CAN_CONFIG must hold JSON"):
        open_bus()
    no_can_configuration(CAN_INTERFACE="virtual")
    with pytest.raises(BusError, match="CAN_CONFIG must hold JSON"):
        open_bus()


def test_a_broken_configuration_file_is_one_line(no_can_configuration: Configure) -> None:
    with open(can.util.CONFIG_FILES[0], "w") as file:
        file.write("interface = virtual\n")
    with pytest.raises(BusError, match="configuration cannot be read"):
        open_bus()


# ── A node ───────────────────────────────────────────────────────────────────────────────────


async def next_frames(frames: asyncio.Queue[Frame], count: int) -> list[Frame]:
    async with asyncio.timeout(ARRIVAL_S):
        return [await frames.get() for _ in range(count)]


@pytest.mark.parametrize("interface", ["evsim", "virtual"])
def test_a_node_hands_on_frames_and_sends(interface: str, can_channel: str) -> None:
    """On `virtual`, which has no file descriptor, python-can's reader thread brings them."""

    async def scenario() -> None:
        heard: asyncio.Queue[Frame] = asyncio.Queue()
        with (
            CanNode(can.Bus(can_channel, interface), heard.put_nowait),
            CanNode(can.Bus(can_channel, interface)) as sender,
        ):
            sent: list[Frame] = [SetLimit(300), StartCharging(), StopCharging()]
            assert all(sender.send(frame) for frame in sent)
            assert await next_frames(heard, 3) == sent

    asyncio.run(scenario())


def test_a_node_logs_each_kind_of_nonsense_once_and_goes_on(
    can_channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        heard: asyncio.Queue[Frame] = asyncio.Queue()
        with CanNode(EvsimBus(can_channel), heard.put_nowait), EvsimBus(can_channel) as peer:
            for number in range(5):
                peer.send(can.Message(arbitration_id=0x123 + number, is_extended_id=False))
                peer.send(can.Message(arbitration_id=0x210, is_extended_id=False, data=b"\1"))
                peer.send(can.Message(arbitration_id=0x200, is_extended_id=True))
                send_datagram(can_channel, b"garbage")
            peer.send(encode(MARKER))
            assert await next_frames(heard, 1) == [MARKER]
            assert heard.empty()

    asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records if record.name == "evsim.bus"]
    assert len(lines) == 4, lines


def test_a_node_on_a_broken_bus_says_so_once_and_when_it_is_well_again(
    can_channel: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "evsim")
    with EvsimBus(can_channel) as bus:
        node = CanNode(bus)
        with monkeypatch.context() as broken:
            broken.setattr(bus, "send", _refuse)
            assert not node.send(StartCharging())
            assert not node.send(StartCharging())
        assert node.send(StartCharging())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "no buffer space" in lines[0]
    assert "takes frames again" in lines[1]


def _refuse(message: can.Message) -> None:
    raise can.CanOperationError("no buffer space")
