"""The CAN bus: which one, and the default one.

python-can's `virtual` interface does not cross processes and its `udp_multicast` listens to the
whole network. The default bus here, `evsim`, has the wire format, group and port of
`udp_multicast` but stays on the loopback interface: nobody outside this machine can hear it or
inject a frame. It is registered with python-can, so `python -m can.viewer -i evsim` joins it.
"""

from __future__ import annotations

import argparse
import configparser
import ipaddress
import logging
import socket
import struct
import sys
from typing import Any

import can
import msgpack
from can.interfaces.udp_multicast import UdpMulticastBus
from can.interfaces.udp_multicast.bus import GeneralPurposeUdpMulticastBus
from can.interfaces.udp_multicast.utils import pack_message

from evsim.errors import UserError

DEFAULT_INTERFACE = "evsim"
DEFAULT_PORT = 43113
#: About 5,000 waiting frames: half a second of a full 1 Mbit/s bus.
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

_LOOPBACK = "127.0.0.1"
# From Linux' <linux/in.h> and <asm/socket.h>; Python's socket module does not name them.
_IP_MULTICAST_ALL = 49
_SO_RCVBUFFORCE = 33
_FIELD_TYPES = {
    "arbitration_id": int,
    "is_extended_id": bool,
    "is_remote_frame": bool,
    "is_error_frame": bool,
    "dlc": int,
    "data": bytes,
    "is_fd": bool,
    "bitrate_switch": bool,
    "error_state_indicator": bool,
}

log = logging.getLogger("evsim.bus")


class BusError(UserError):
    """The CAN bus cannot be opened as asked."""


# ── Which bus ────────────────────────────────────────────────────────────────────────────────


def add_bus_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options --can-interface and --can-channel."""
    group = parser.add_argument_group("CAN bus")
    group.add_argument(
        "--can-interface",
        metavar="NAME",
        help="python-can interface, e.g. socketcan (default: python-can's own configuration, "
        "else evsim, a bus on this machine's loopback)",
    )
    group.add_argument(
        "--can-channel",
        metavar="CHANNEL",
        help="e.g. vcan0; for evsim a multicast group, each group is a bus of its own "
        f"(default there: {UdpMulticastBus.DEFAULT_GROUP_IPv4})",
    )


def open_bus(interface: str | None = None, channel: str | None = None) -> can.BusABC:
    """Open the CAN bus: as given, else as python-can is configured, else `evsim`.

    Raises BusError with one line that says what was asked for and what to do.
    """
    interface = interface or configured("interface") or DEFAULT_INTERFACE
    channel = channel or configured("channel")
    if interface == "virtual":
        log.warning("python-can's interface 'virtual' does not cross processes; evsim does")
    asked_for = f"CAN interface {interface!r}" + (f", channel {channel!r}" if channel else "")
    try:
        return can.Bus(channel, interface)
    except can.CanInterfaceNotImplementedError as error:
        if interface == DEFAULT_INTERFACE:
            remedy = "install this project's plugin for it: pip install -r requirements.txt"
        else:
            remedy = f"known are: {', '.join(sorted(can.VALID_INTERFACES))}"
        raise BusError(f"cannot open {asked_for}: {error}; {remedy}") from error
    except (can.CanError, OSError, ValueError, TypeError, ImportError) as error:
        raise BusError(
            f"cannot open {asked_for}: {error}; check --can-interface and --can-channel, or leave "
            "both out for a bus on this machine"
        ) from error


def configured(key: str) -> str | None:
    """What python-can's own configuration says of "interface" or "channel": environment, file.

    Raises BusError if that configuration cannot be read.
    """
    try:
        for source in (can.rc, can.util.load_environment_config(), can.util.load_file_config()):
            if value := source.get(key):
                return str(value)
    except (ValueError, AttributeError, TypeError, OSError, configparser.Error) as error:
        raise BusError(
            f"python-can's configuration cannot be read: {error}; "
            'CAN_CONFIG must hold JSON, e.g. {"interface": "socketcan", "channel": "vcan0"}'
        ) from error
    return None


# ── The default bus ──────────────────────────────────────────────────────────────────────────


class EvsimBus(UdpMulticastBus):
    """python-can interface `evsim`: CAN frames as UDP multicast that never leaves this machine.

    :param channel: IPv4 multicast group; a different group is a different bus.
    :param port: UDP port of the group.
    :param receive_own_messages: also hear what this bus object sends.
    :param fd: take CAN FD frames too (this project's protocol is classic CAN).

    Raises ValueError for a channel that is no IPv4 multicast address, can.CanInitializationError
    if the loopback interface refuses.
    """

    def __init__(
        self,
        channel: str = UdpMulticastBus.DEFAULT_GROUP_IPv4,
        port: int = DEFAULT_PORT,
        *,
        receive_own_messages: bool = False,
        fd: bool = False,
        **kwargs: Any,
    ) -> None:
        try:
            is_multicast = ipaddress.IPv4Address(channel).is_multicast
        except ValueError:
            is_multicast = False
        if not is_multicast:
            raise ValueError(
                f"channel {channel!r} is not an IPv4 multicast address such as "
                f"{self.DEFAULT_GROUP_IPv4}"
            )
        # Not UdpMulticastBus.__init__, which would first join the group on every interface.
        can.BusABC.__init__(self, channel, **kwargs)
        self.channel_info = f"evsim {channel}:{port} on loopback"
        self._can_protocol = can.CanProtocol.CAN_FD if fd else can.CanProtocol.CAN_20
        self._receive_own_messages = receive_own_messages
        self._multicast: _LoopbackMulticast = _LoopbackMulticast(channel, port)
        self._complained = False
        self.malformed_datagrams = 0

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        datagram = self._multicast.recv(timeout)
        if datagram is None:
            return None, False
        data, sender, timestamp = datagram
        if sender == self._multicast.own_address and not self._receive_own_messages:
            return None, False
        try:
            message = _unpack(data, timestamp, self._multicast.group)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            self.malformed_datagrams += 1
            if not self._complained:
                self._complained = True
                log.warning("ignoring a datagram that is no CAN frame (said once): %s", error)
            return None, False
        if message.is_fd and self._can_protocol is not can.CanProtocol.CAN_FD:
            return None, False
        return message, False

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        """Send one frame to every other member of the bus; can.CanOperationError if it fails."""
        if msg.is_fd and self._can_protocol is not can.CanProtocol.CAN_FD:
            raise can.CanOperationError("CAN FD frame on a classic CAN bus; open it with fd=True")
        self._multicast.send(pack_message(msg), timeout)

    @staticmethod
    def _detect_available_configs() -> list[can.typechecking.AutoDetectedConfig]:
        return [{"interface": DEFAULT_INTERFACE, "channel": UdpMulticastBus.DEFAULT_GROUP_IPv4}]


def _unpack(data: bytes, timestamp: float, channel: str) -> can.Message:
    """Read one datagram; ValueError, TypeError or RecursionError for anything but a CAN frame.

    The types are checked before can.Message sees them: it would allocate bytearray(10**9) for a
    `data` that is a number.
    """
    fields = msgpack.unpackb(data, raw=False)  # type: ignore[attr-defined, no-untyped-call]
    if not isinstance(fields, dict):
        raise TypeError(f"a map of fields was expected, not {type(fields).__name__}")
    for name, expected in _FIELD_TYPES.items():
        if type(fields.get(name)) is not expected:
            raise TypeError(f"field {name!r} is not {expected.__name__}")
    frame = {name: fields[name] for name in _FIELD_TYPES}
    return can.Message(timestamp=timestamp, channel=channel, check=True, **frame)


class _LoopbackMulticast(GeneralPurposeUdpMulticastBus):
    """The multicast group, joined on the loopback interface only.

    Sends from a socket of its own, whose address tells our own datagrams from everybody else's.
    """

    def __init__(self, group: str, port: int) -> None:
        super().__init__(group, port, hop_limit=0)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._sender.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(_LOOPBACK)
            )
            self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            self._sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            self._sender.bind((_LOOPBACK, 0))
            self._sender.connect((group, port))
        except OSError as error:
            self.shutdown()
            raise can.CanInitializationError(
                f"multicast on the loopback interface failed: {error}"
            ) from error
        self.own_address = self._sender.getsockname()

    def _create_socket(self, address_family: socket.AddressFamily) -> socket.socket:
        receiver = socket.socket(address_family, socket.SOCK_DGRAM)
        try:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _enlarge_receive_buffer(receiver)
            if sys.platform == "linux":
                # Else the kernel hands us what another process's membership brings in from
                # another interface.
                receiver.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            # Bound to the group, a unicast datagram to the port does not reach us. Windows
            # cannot bind to a group; its loopback address is the next best.
            receiver.bind((_LOOPBACK if sys.platform == "win32" else self.group, self.port))
            membership = socket.inet_aton(self.group) + socket.inet_aton(_LOOPBACK)
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            receiver.settimeout(0)
        except OSError as error:
            receiver.close()
            raise can.CanInitializationError(
                f"cannot join {self.group}:{self.port} on the loopback interface: {error}"
            ) from error
        self.timestamp_nanosecond = _ask_for_kernel_timestamps(receiver)
        return receiver

    def send(self, data: bytes, timeout: float | None = None) -> None:
        if timeout != self._last_send_timeout:
            self._last_send_timeout = timeout
            self._sender.settimeout(timeout)
        try:
            self._sender.send(data)
        except TimeoutError:
            raise can.CanTimeoutError(f"frame not sent within {timeout} s") from None
        except OSError as error:
            raise can.CanOperationError(f"frame not sent: {error}") from error

    def shutdown(self) -> None:
        super().shutdown()
        self._sender.close()


def _enlarge_receive_buffer(receiver: socket.socket) -> None:
    """Ask for room for a burst; the system may grant less (Linux: net.core.rmem_max)."""
    for option in (_SO_RCVBUFFORCE if sys.platform == "linux" else None, socket.SO_RCVBUF):
        if option is None:
            continue
        try:
            receiver.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER_BYTES)
        except OSError as error:  # FORCE needs a privilege; macOS refuses more than its maximum
            log.debug("receive buffer option %s refused: %s", option, error)
        else:
            return


def _ask_for_kernel_timestamps(receiver: socket.socket) -> bool:
    """Let the kernel stamp each frame with its arrival, in ns; False where it can't."""
    so_timestampns = 35  # Linux; the base class reads what it brings
    if sys.platform != "linux":
        return False
    try:
        receiver.setsockopt(socket.SOL_SOCKET, so_timestampns, 1)
    except OSError as error:
        log.debug("no kernel time stamps: %s", error)
        return False
    return struct.calcsize("@ll") == 16
