"""The command line of csms.py."""

from __future__ import annotations

import argparse
import ipaddress
import logging
from pathlib import Path

from websockets.asyncio.server import Server

from evsim import console
from evsim.central_system.admission import add_security_arguments
from evsim.central_system.features.security import Signer
from evsim.errors import UserError
from evsim.live.options import add_live_arguments, has, playing_from
from evsim.security import uses_tls
from evsim.sqlite import state_directory

log = logging.getLogger("evsim.csms")


def read_options(description: str | None, arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the program for what cannot be."""
    parser = console.argument_parser(description or "", "./csms.py --cycles 3 --port 9001")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port", type=console.port_number, default=9000, help="default: %(default)s"
    )
    pattern = parser.add_mutually_exclusive_group()
    pattern.add_argument(
        "--cycles",
        type=console.at_least_one,
        metavar="N",
        help="play the anomaly N times for each charge point (default: for ever)",
    )
    pattern.add_argument("--no-anomaly", action="store_true", help="only serve charge points")
    pattern.add_argument(
        "--scenario",
        type=Path,
        metavar="FILE.py",
        help="play its `async def scenario(charge_point)` with each charge point that boots",
    )
    record = "record the OCPP links in DIR/ocpp.jsonl, and label what is played"
    add_live_arguments(parser, benign=True, target=None, record=record)
    parser.add_argument(
        "--db",
        type=Path,
        default=state_directory() / "csms.sqlite",
        metavar="FILE",
        help="where transactions and meter values are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--id-tags",
        type=Path,
        metavar="FILE",
        help="what is said of id tags: TAG,STATUS,EXPIRY,PARENT a line; all others are accepted",
    )
    parser.add_argument(
        "--one-transaction-per-tag",
        action="store_true",
        help="answer ConcurrentTx where a tag that is charging elsewhere starts",
    )
    _add_security_arguments(parser)
    options = parser.parse_args(arguments)
    options.playing = playing_from(parser, options, "csms.py")
    _refuse_contradictions(parser, options)
    return options


def _add_security_arguments(parser: argparse.ArgumentParser) -> None:
    group = add_security_arguments(parser)
    group.add_argument(
        "--ca-key",
        type=Path,
        metavar="FILE",
        help="private key of --ca: sign the certificates that charge points ask for",
    )
    group.add_argument(
        "--rotate-keys",
        action="store_true",
        help="give each charge point a new AuthorizationKey when it boots",
    )
    group.add_argument(
        "--raise-to-profile",
        type=int,
        choices=(1, 2, 3),
        help="have each charge point raise its security profile when it boots",
    )


def _refuse_contradictions(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    plays_catalogue = options.playing is not None or has(options, "benign")
    if options.no_anomaly and (has(options, "anomaly") or has(options, "benign")):
        parser.error("--no-anomaly plays nothing; leave it or --anomaly and --benign out")
    if has(options, "cycles") and plays_catalogue:
        parser.error("--cycles is about the base scenario alone; elsewhere --parameter says it")
    if options.scenario is not None and (has(options, "anomaly") or has(options, "benign")):
        parser.error("--scenario is played alone; leave it or --anomaly and --benign out")
    if options.ca_key is not None and options.ca is None:
        parser.error("--ca-key is the private key of --ca; give that too")


def signer(options: argparse.Namespace) -> Signer | None:
    """Give what signs certificate requests, if --ca-key is given; UserError if it can't."""
    if options.ca_key is None:
        return None
    try:
        from evsim.authority import Authority
    except ImportError as error:
        raise UserError(
            "--ca-key needs the package cryptography: pip install -e '.[security]'"
        ) from error
    return Authority.load(options.ca, options.ca_key).sign_request


def warn_if_open(options: argparse.Namespace) -> None:
    """Say what to do if whoever reaches this machine can pose as a charge point."""
    try:
        is_loopback = ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        is_loopback = options.host == "localhost"
    if options.security_profile == 0 and not is_loopback:
        log.warning(
            "with security profile 0 everybody who reaches %s can pose as any charge point; use "
            "--security-profile 2 (python -m evsim.certificates makes what it needs), or leave "
            "--host out",
            options.host,
        )


def address(options: argparse.Namespace, listening: Server) -> str:
    """Give the URL that charge points connect to, without their ids."""
    port = next(iter(listening.sockets)).getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{'wss' if uses_tls(options.security_profile) else 'ws'}://{host}:{port}"
