"""Who may connect to a central system: decided before the WebSocket upgrade."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from evsim.central_system.ledger import Ledger
from evsim.rate_limit import Rate, TokenBucket
from evsim.security import (
    SecurityError,
    add_profile_arguments,
    digest,
    is_key,
    offered_keys,
    read_keys_file,
    server_context,
    uses_key,
    uses_tls,
)

#: Refusals that one address, and one charge point id, may collect. Beyond its rate an address is
#: not even looked at; an id's true key still opens, so that nobody can lock a station out.
REFUSALS_PER_ADDRESS = Rate(per_s=1.0, burst=20)
REFUSALS_PER_ID = Rate(per_s=0.1, burst=5)
#: Addresses and ids whose refusals are remembered; the longest unseen is forgotten first.
MOST_REMEMBERED = 10_000

log = logging.getLogger("evsim.central_system")


def add_security_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Give `parser` the options of the security profiles; returns their group for more."""
    group = add_profile_arguments(parser)
    group.add_argument(
        "--keys", type=Path, metavar="FILE", help="AuthorizationKeys: an id and a key a line"
    )
    return group


def tls_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Make the TLS context that the options ask for; SecurityError if something is missing."""
    if not uses_tls(options.security_profile):
        return None
    if options.cert is None or options.private_key is None:
        raise SecurityError(
            f"security profile {options.security_profile} needs --cert and --private-key"
        )
    return server_context(options.security_profile, options.cert, options.private_key, options.ca)


def keep_keys(options: argparse.Namespace, ledger: Ledger) -> None:
    """Take the keys of --keys into the ledger; SecurityError if the file has none to read."""
    if options.keys is None:
        if uses_key(options.security_profile):
            log.warning(
                "no --keys: only charge points whose keys are in %s can connect", options.db
            )
        return
    keys = read_keys_file(options.keys)
    ledger.issue_keys({charge_point_id: digest(key) for charge_point_id, key in keys.items()})
    for charge_point_id, key in keys.items():
        current, _ = ledger.key_digests(charge_point_id)
        if not is_key(key, current or b""):
            log.info("%s: a rotated key has replaced the one in %s", charge_point_id, options.keys)


@dataclass(frozen=True)
class Applicant:
    """What a charge point shows when it connects."""

    charge_point_id: str
    address: str
    authorization: str = ""
    certificate_name: str | None = None


class Admission:
    """Judges applicants by the security profile; refuses all uniformly."""

    def __init__(self, profile: int, ledger: Ledger) -> None:
        self.profile = profile
        self._ledger = ledger
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        #: Compared with for ids that have no key, so that these take the same time.
        self._nobody = digest(b"no key has this digest in it")

    def judge(self, applicant: Applicant, now_s: float) -> HTTPStatus | None:
        """Give None to admit, else the status to refuse with."""
        if not self._address_bucket(applicant, now_s).has(now_s):
            return HTTPStatus.TOO_MANY_REQUESTS
        if self.proves_itself(applicant):
            return None
        log.warning(
            "refused %s from %s: it did not prove itself",
            applicant.charge_point_id,
            applicant.address,
        )
        self.count_refusal(applicant, now_s)
        of_id = self._bucket(f"id {applicant.charge_point_id}", REFUSALS_PER_ID, now_s)
        return HTTPStatus.UNAUTHORIZED if of_id.take(now_s) else HTTPStatus.TOO_MANY_REQUESTS

    def count_refusal(self, applicant: Applicant, now_s: float) -> None:
        """Charge a refusal, whatever its reason, to the applicant's address."""
        self._address_bucket(applicant, now_s).take(now_s)

    def proves_itself(self, applicant: Applicant) -> bool:
        """Whether the applicant is who it says, as far as the profile asks."""
        if self.profile == 3:
            return applicant.certificate_name == applicant.charge_point_id
        if not uses_key(self.profile):
            return True
        current, offered = self._ledger.key_digests(applicant.charge_point_id)
        keys = offered_keys(applicant.authorization, applicant.charge_point_id) or [b""]
        is_offered = any(is_key(key, offered or self._nobody) for key in keys)
        is_current = any(is_key(key, current or self._nobody) for key in keys)
        if is_offered:  # it has taken the key that it was sent: the former one is void
            self._ledger.adopt_key(applicant.charge_point_id)
        return is_offered or is_current

    def _address_bucket(self, applicant: Applicant, now_s: float) -> TokenBucket:
        return self._bucket(f"address {_household(applicant.address)}", REFUSALS_PER_ADDRESS, now_s)

    def _bucket(self, name: str, rate: Rate, now_s: float) -> TokenBucket:
        bucket = self._buckets.setdefault(name, TokenBucket(rate, now_s))
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket


def _household(address: str) -> str:
    """Give what one party holds: an IPv4 address, but 2^64 IPv6 addresses."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return address if ip.version == 4 else ip.exploded[:19]
