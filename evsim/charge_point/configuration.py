"""The charge point's configuration keys: one table, and their values on disk.

OCPP 1.6 section 9, and the keys of the security extension. Names compare without case.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ocpp.exceptions import OccurenceConstraintViolationError
from ocpp.v16.enums import ConfigurationStatus, Measurand

from evsim.charge_point import charging_profiles
from evsim.charge_point.value_types import (
    LONGEST_VALUE,
    Flag,
    Only,
    PhaseRotation,
    Text,
    ValueType,
    Whole,
    Words,
    split,
)
from evsim.errors import UserError
from evsim.sqlite import Database

#: What the meter can tell, in the order in which it does.
MEASURANDS = (
    Measurand.current_import,
    Measurand.voltage,
    Measurand.power_active_import,
    Measurand.energy_active_import_register,
    Measurand.soc,
)
CONNECTORS = 1
#: X.520's longest organisation name: CpoName is to become one in a certificate.
LONGEST_NAME = 64
ANY_TEXT = Text()
_DAY_S = 86_400

log = logging.getLogger("evsim.charge_point")

# ── The table ────────────────────────────────────────────────────────────────────────────────


class Access(StrEnum):
    """What the central system may do with a key."""

    READ_WRITE = "RW"
    READ_ONLY = "R"
    WRITE_ONLY = "W"


@dataclass(frozen=True)
class Key:
    """A configuration key.

    :param takes: what a value may be; not asked for a key with `write`.
    :param needs_reboot: a new value counts from the next boot on.
    :param read: gives the value of a key that another part keeps.
    :param write: takes a new value there, False if it will not.
    """

    name: str
    access: Access
    takes: ValueType = ANY_TEXT
    default: str = ""
    needs_reboot: bool = False
    read: Callable[[], str] | None = None
    write: Callable[[str], bool] | None = None


def _built_in(name: str, value: str) -> Key:
    """Give a key that tells what this charge point is like, which no option changes."""
    return Key(name, Access.READ_ONLY, Only(value), value)


_RW, _R = Access.READ_WRITE, Access.READ_ONLY
_FLAG, _COUNT = Flag(), Whole(0, 1_000_000)
#: 0 turns off what happens at intervals.
_INTERVAL_S = Whole(0, _DAY_S)
_MEASURANDS = Words(MEASURANDS)
_ALL_MEASURANDS = ",".join(MEASURANDS)
_PROFILES = Words(
    (
        "Core",
        "FirmwareManagement",
        "LocalAuthListManagement",
        "RemoteTrigger",
        "Reservation",
        "SmartCharging",
    )
)
_UNITS = Words(("Current", "Power"))

KEYS: tuple[Key, ...] = (
    # Core
    Key("AllowOfflineTxForUnknownId", _RW, _FLAG, "false"),
    Key("AuthorizationCacheEnabled", _RW, _FLAG, "true"),
    Key("AuthorizeRemoteTxRequests", _RW, _FLAG, "false"),
    Key("ClockAlignedDataInterval", _RW, _INTERVAL_S, "0"),
    Key("ConnectionTimeOut", _RW, Whole(1, _DAY_S), "60"),
    # For the central system's own books: the meter knows no phases.
    Key("ConnectorPhaseRotation", _RW, PhaseRotation(CONNECTORS), "0.Unknown,1.Unknown"),
    Key("GetConfigurationMaxKeys", _R, _COUNT, "100"),
    Key("HeartbeatInterval", _RW, Whole(1, _DAY_S), "10"),
    Key("LocalAuthorizeOffline", _RW, _FLAG, "true"),
    Key("LocalPreAuthorize", _RW, _FLAG, "false"),
    Key("MeterValuesAlignedData", _RW, _MEASURANDS, Measurand.energy_active_import_register),
    _built_in("MeterValuesAlignedDataMaxLength", str(len(MEASURANDS))),
    Key("MeterValuesSampledData", _RW, _MEASURANDS, _ALL_MEASURANDS),
    _built_in("MeterValuesSampledDataMaxLength", str(len(MEASURANDS))),
    Key("MeterValueSampleInterval", _RW, _INTERVAL_S, "1"),
    _built_in("NumberOfConnectors", str(CONNECTORS)),
    # Required by OCPP, but a reset never fails here, so there is nothing to repeat.
    Key("ResetRetries", _RW, Whole(0, 100), "1"),
    Key("StopTransactionOnEVSideDisconnect", _RW, _FLAG, "true"),
    Key("StopTransactionOnInvalidId", _RW, _FLAG, "true"),
    Key("StopTxnAlignedData", _RW, _MEASURANDS, ""),
    _built_in("StopTxnAlignedDataMaxLength", str(len(MEASURANDS))),
    Key("StopTxnSampledData", _RW, _MEASURANDS, ""),
    _built_in("StopTxnSampledDataMaxLength", str(len(MEASURANDS))),
    Key("SupportedFeatureProfiles", _R, _PROFILES, ",".join(_PROFILES.known)),
    Key("TransactionMessageAttempts", _RW, Whole(1, 1000), "10"),
    Key("TransactionMessageRetryInterval", _RW, _INTERVAL_S, "2"),
    Key("UnlockConnectorOnEVSideDisconnect", _RW, _FLAG, "true"),
    Key("WebSocketPingInterval", _RW, _INTERVAL_S, "20", needs_reboot=True),
    # LocalAuthListManagement; a list sent whole fits into one message of the link
    Key("LocalAuthListEnabled", _RW, _FLAG, "true"),
    Key("LocalAuthListMaxLength", _R, _COUNT, "1000"),
    Key("SendLocalListMaxLength", _R, _COUNT, "300"),
    # Reservation
    Key("ReserveConnectorZeroSupported", _R, _FLAG, "true"),
    # SmartCharging
    _built_in("ChargeProfileMaxStackLevel", str(charging_profiles.MAX_STACK_LEVEL)),
    Key("ChargingScheduleAllowedChargingRateUnit", _R, _UNITS, "Current,Power"),
    _built_in("ChargingScheduleMaxPeriods", str(charging_profiles.MAX_PERIODS)),
    _built_in("ConnectorSwitch3to1PhaseSupported", "false"),
    _built_in("MaxChargingProfilesInstalled", str(charging_profiles.MAX_PROFILES)),
    # FirmwareManagement
    _built_in("SupportedFileTransferProtocols", "HTTP"),
    # Security
    _built_in("AdditionalRootCertificateCheck", "false"),
    _built_in("CertificateSignedMaxChainSize", "10000"),
    Key("CertificateStoreMaxLength", _R, _COUNT, "20"),
    Key("CpoName", _RW, Text(LONGEST_NAME), ""),
)

# ── Their values ─────────────────────────────────────────────────────────────────────────────

_SCHEMA = "CREATE TABLE IF NOT EXISTS configuration (key TEXT PRIMARY KEY, value TEXT NOT NULL)"


class Configuration:
    """The values of the keys; what ChangeConfiguration has changed outlives the program.

    :param initial: values that are to take the place of the table's defaults, also of read-only
        keys that something here goes by. UserError for one that is none.
    """

    def __init__(self, database: Database, *, initial: Mapping[str, str] | None = None) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._keys = {_plain(key.name): key for key in KEYS}
        self._values = {plain: key.default for plain, key in self._keys.items()}
        self._listeners: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        for name, value in (initial or {}).items():
            self._begin_with(name, value)
        self._take_up_kept()

    def _begin_with(self, name: str, value: str) -> None:
        key = self._keys.get(_plain(name))
        if key is None:
            known = ", ".join(key.name for key in self._keys.values())
            raise UserError(f"no configuration key {name!r}; known are: {known}")
        try:
            self._values[_plain(name)] = key.takes.read(value)
        except ValueError as error:
            raise UserError(f"{key.name} can't be {value!r}: {error}") from error

    def _take_up_kept(self) -> None:
        for name, value in self._database.execute("SELECT key, value FROM configuration"):
            key = self._keys.get(_plain(name))
            if key is None or key.access != Access.READ_WRITE:
                continue  # kept by another version of this program
            try:
                self._values[_plain(name)] = key.takes.read(value)
            except ValueError as error:
                log.warning("the kept value of %s no longer counts: %s", name, error)

    def provide(self, key: Key) -> None:
        """Offer the key of another part, which keeps it: `key` has `read`, `write` or both."""
        self._keys[_plain(key.name)] = key

    def listen(self, key: str, callback: Callable[[], None]) -> None:
        """Have `callback` called after each accepted change of `key`."""
        self._listeners[_plain(key)].append(callback)

    # ── For this charge point ────────────────────────────────────────────────────────────────

    def text(self, key: str) -> str:
        """Give a key's value as it is sent."""
        known = self._keys[_plain(key)]
        return self._values[_plain(key)] if known.read is None else known.read()

    def flag(self, key: str) -> bool:
        """Give the value of a key that is true or false."""
        return self.text(key) == "true"

    def number(self, key: str) -> int:
        """Give the value of a key that is a whole number."""
        return int(self.text(key))

    def words(self, key: str) -> list[str]:
        """Give the value of a key that is a list."""
        return split(self.text(key))

    # ── For the central system ───────────────────────────────────────────────────────────────

    def change(self, key: str, value: str) -> ConfigurationStatus:
        """Change a key as ChangeConfiguration asks; it is on disk before this returns.

        Raises StorageError, with nothing changed, if it can't be.
        """
        known = self._keys.get(_plain(key))
        if known is None:
            return ConfigurationStatus.not_supported
        try:
            self._set(known, value)
        except ValueError as error:
            log.warning("%s is not changed: %s", known.name, error)
            return ConfigurationStatus.rejected
        log.info("%s is changed", known.name)
        for callback in self._listeners[_plain(key)]:
            callback()
        if known.needs_reboot:
            return ConfigurationStatus.reboot_required
        return ConfigurationStatus.accepted

    def _set(self, key: Key, text: str) -> None:
        """Set a key's value, or raise ValueError."""
        if key.access == Access.READ_ONLY:
            raise ValueError("it can only be read")
        if len(text) > LONGEST_VALUE:
            raise ValueError(f"{len(text)} characters are more than {LONGEST_VALUE}")
        if key.write is not None:
            if not key.write(text):
                raise ValueError("the value is refused")
            return
        value = key.takes.read(text)
        self._database.write(
            "INSERT OR REPLACE INTO configuration VALUES (?, ?)", (key.name, value)
        )
        self._values[_plain(key.name)] = value

    def read(self, keys: Sequence[str] | None) -> tuple[list[dict[str, str | bool]], list[str]]:
        """Give what GetConfiguration asks for: KeyValue objects, and the keys that are not known.

        Without keys, all that can be read. Raises OccurenceConstraintViolationError if more are
        asked for than GetConfigurationMaxKeys.
        """
        if not keys:
            readable = (k for k in self._keys.values() if k.access != Access.WRITE_ONLY)
            return [self._shown(key) for key in readable], []
        most = self.number("GetConfigurationMaxKeys")
        if len(keys) > most:
            raise OccurenceConstraintViolationError(
                f"{len(keys)} keys are asked for, at most {most} (GetConfigurationMaxKeys) are told"
            )
        asked: dict[str, str] = {}
        for key in keys:
            asked.setdefault(_plain(key), key)  # each is told once
        known = [self._shown(self._keys[plain]) for plain in asked if plain in self._keys]
        return known, [key for plain, key in asked.items() if plain not in self._keys]

    def _shown(self, key: Key) -> dict[str, str | bool]:
        shown: dict[str, str | bool] = {
            "key": key.name,
            "readonly": key.access == Access.READ_ONLY,
        }
        if key.access != Access.WRITE_ONLY:
            shown["value"] = self.text(key.name)
        return shown


def _plain(name: str) -> str:
    """Give a key's name as it is compared."""
    return name.lower()
