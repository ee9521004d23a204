"""Make a test CA, certificates and keys for the security profiles: not for the real world.

    python -m evsim.certificates DIR --charge-point CP_1

writes into DIR what csms.py and cp.py need for each profile:

    ca.pem                          the authority that both ends trust
    ca.key                          its private key, for csms.py --ca-key; only with --keep-ca-key,
                                    otherwise it is forgotten at the end
    csms.pem, csms.key              the central system's certificate and private key
    keys.txt                        the AuthorizationKeys of all charge points, for csms.py --keys
    CP_1.pem, CP_1.key              a charge point's certificate and private key
    CP_1.authorization-key          its AuthorizationKey, for cp.py --key-file
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

from evsim import console
from evsim.errors import UserError
from evsim.security import KEY_BYTES
from evsim.text import is_charge_point_id

try:
    from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

    from evsim.authority import Authority, new_key, private_pem
except ImportError:
    sys.exit("evsim.certificates needs the package cryptography: pip install -e '.[security]'")


def make_all(
    directory: Path, host: str, charge_point_ids: list[str], *, keep_ca_key: bool = False
) -> None:
    """Write everything; UserError if the directory already holds a CA or can't be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / "ca.pem").exists():
            raise UserError(f"{directory} already holds a ca.pem; choose another directory")
        authority = Authority.make()
        _write(directory / "ca.pem", authority.pem)
        if keep_ca_key:
            _write(directory / "ca.key", authority.key_pem)
        _issue(authority, directory / "csms", host, ExtendedKeyUsageOID.SERVER_AUTH)
        lines = ["# charge point id, AuthorizationKey"]
        for charge_point_id in charge_point_ids:
            name = quote(charge_point_id, safe="")
            _issue(authority, directory / name, charge_point_id, ExtendedKeyUsageOID.CLIENT_AUTH)
            key = secrets.token_hex(KEY_BYTES[-1])
            _write(directory / f"{name}.authorization-key", f"{key}\n".encode())
            lines.append(f"{charge_point_id} {key}")
        _write(directory / "keys.txt", ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write to {directory}: {error}") from error


def _issue(authority: Authority, path: Path, subject: str, usage: ObjectIdentifier) -> None:
    """Write NAME.pem and NAME.key for a host (server) or a charge point id (client)."""
    key = new_key()
    certificate = authority.issue(subject, key.public_key(), usage)
    _write(path.with_name(f"{path.name}.key"), private_pem(key))
    _write(path.with_name(f"{path.name}.pem"), certificate)


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; OSError if there is one of that name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evsim.certificates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the central system's name (default: %(default)s)"
    )
    parser.add_argument(
        "--charge-point",
        action="append",
        metavar="ID",
        help="may be given several times (default: CP_1)",
    )
    parser.add_argument(
        "--keep-ca-key",
        action="store_true",
        help="so that csms.py --ca-key can sign what charge points ask for",
    )
    options = parser.parse_args(arguments)
    charge_point_ids = options.charge_point or ["CP_1"]
    for charge_point_id in charge_point_ids:
        if not is_charge_point_id(charge_point_id):
            parser.error(f"{charge_point_id!r} is not a charge point id")
    try:
        make_all(options.directory, options.host, charge_point_ids, keep_ca_key=options.keep_ca_key)
    except UserError as error:
        return console.fail(error)
    console.ready(f"Test CA, certificates and keys are in {options.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
