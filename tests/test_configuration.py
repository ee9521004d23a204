"""The charge point's configuration keys: what each takes, who may do what, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.exceptions import OccurenceConstraintViolationError
from ocpp.v16 import call_result
from ocpp.v16.enums import ConfigurationKey, ConfigurationStatus

from evsim import ocpp_schemas
from evsim.charge_point.configuration import KEYS, Access, Configuration, Key
from evsim.charge_point.ledger import Ledger
from evsim.errors import UserError
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES
from evsim.ocpp_wire import dump, to_wire
from evsim.sqlite import IN_MEMORY, StorageError

ACCEPTED, REJECTED = ConfigurationStatus.accepted, ConfigurationStatus.rejected
#: OCPP 1.6 section 9: those that a charge point with these feature profiles must have.
REQUIRED = {
    "RW": """ClockAlignedDataInterval ConnectionTimeOut HeartbeatInterval MeterValueSampleInterval
        ResetRetries TransactionMessageAttempts TransactionMessageRetryInterval
        LocalAuthorizeOffline LocalPreAuthorize StopTransactionOnEVSideDisconnect
        StopTransactionOnInvalidId UnlockConnectorOnEVSideDisconnect AuthorizeRemoteTxRequests
        ConnectorPhaseRotation MeterValuesAlignedData MeterValuesSampledData StopTxnAlignedData
        StopTxnSampledData LocalAuthListEnabled""",
    "R": """GetConfigurationMaxKeys NumberOfConnectors SupportedFeatureProfiles
        LocalAuthListMaxLength SendLocalListMaxLength ChargeProfileMaxStackLevel
        ChargingScheduleAllowedChargingRateUnit ChargingScheduleMaxPeriods
        MaxChargingProfilesInstalled SupportedFileTransferProtocols""",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cp.sqlite"


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger(IN_MEMORY)
    yield ledger
    ledger.close()


@pytest.fixture
def configuration(ledger: Ledger) -> Configuration:
    return Configuration(ledger.database)


@pytest.mark.parametrize("access", REQUIRED)
def test_every_required_key_is_there(access: str) -> None:
    have = {key.name for key in KEYS if key.access == access}
    assert not set(REQUIRED[access].split()) - have


def test_the_table_is_sound() -> None:
    names = [key.name for key in KEYS]
    assert len(names) == len(set(names))
    others = {"SupportedFileTransferProtocols", "ReserveConnectorZeroSupported"}
    assert set(names) <= {str(key) for key in ConfigurationKey} | others
    for key in KEYS:
        assert key.takes.read(key.default) == key.default, key.name


def test_all_keys_fit_into_one_answer(configuration: Configuration) -> None:
    for key in KEYS:
        configuration.change(key.name, "x" * 500)
    known, unknown = configuration.read(None)
    answer = to_wire(call_result.GetConfiguration(known, unknown))
    ocpp_schemas.check_response("GetConfiguration", answer)
    assert [item["key"] for item in answer["configurationKey"]] == [key.name for key in KEYS]
    assert len(dump([3, "id", answer])) < LARGEST_MESSAGE_BYTES


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("LocalPreAuthorize", "TRUE", "true"),
        ("localpreauthorize", "False", "false"),
        ("HEARTBEATINTERVAL", "0300", "300"),
        ("MeterValueSampleInterval", "0", "0"),
        ("ClockAlignedDataInterval", "86400", "86400"),
        ("MeterValuesSampledData", "Voltage, SoC,Voltage", "Voltage,SoC"),
        ("StopTxnAlignedData", "", ""),
        ("StopTxnSampledData", "  ", ""),
        ("ConnectorPhaseRotation", "0.RST, 1.RTS", "0.RST,1.RTS"),
        ("ConnectorPhaseRotation", "1.NotApplicable", "1.NotApplicable"),
        ("CpoName", "Strom für alle", "Strom für alle"),
    ],
)
def test_a_good_value_is_taken(
    configuration: Configuration, key: str, value: str, kept: str
) -> None:
    assert configuration.change(key, value) == ACCEPTED
    assert configuration.text(key) == kept


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LocalPreAuthorize", "yes"),
        ("LocalPreAuthorize", "1"),
        ("LocalPreAuthorize", ""),
        ("HeartbeatInterval", "0"),
        ("HeartbeatInterval", "-1"),
        ("HeartbeatInterval", "1.5"),
        ("HeartbeatInterval", " 5"),
        ("HeartbeatInterval", "1_000"),
        ("HeartbeatInterval", "٣"),
        ("HeartbeatInterval", "9" * 500),
        ("MeterValueSampleInterval", "-1"),
        ("WebSocketPingInterval", "-1"),
        ("ConnectionTimeOut", "abc"),
        ("TransactionMessageAttempts", "0"),
        ("MeterValuesSampledData", "Voltage,Luck"),
        ("MeterValuesSampledData", "Voltage,,SoC"),
        ("MeterValuesAlignedData", "voltage"),
        ("StopTxnSampledData", "Temperature"),
        ("ConnectorPhaseRotation", ""),
        ("ConnectorPhaseRotation", "RST"),
        ("ConnectorPhaseRotation", "2.RST"),
        ("ConnectorPhaseRotation", "1.RST,1.RTS"),
        ("ConnectorPhaseRotation", "1.XYZ"),
        ("CpoName", "two\nlines"),
        ("CpoName", "\ud800"),
        ("CpoName", "x" * 65),
        ("CpoName", "x" * 501),
    ],
)
def test_a_bad_value_changes_nothing(configuration: Configuration, key: str, value: str) -> None:
    before = configuration.text(key)
    assert configuration.change(key, value) == REJECTED
    assert configuration.text(key) == before


@pytest.mark.parametrize("key", [key.name for key in KEYS if key.access == Access.READ_ONLY])
def test_a_read_only_key_stays(configuration: Configuration, key: str) -> None:
    assert configuration.change(key, configuration.text(key)) == REJECTED


@pytest.mark.parametrize("key", ["NoSuchKey", "", "\0", "AuthorizationKey"])
def test_an_unknown_key_is_not_supported(configuration: Configuration, key: str) -> None:
    assert configuration.change(key, "1") == ConfigurationStatus.not_supported


@given(key=st.sampled_from(KEYS), value=st.text(max_size=600))
def test_no_value_breaks_it(key: Key, value: str) -> None:
    ledger = Ledger(IN_MEMORY)
    configuration = Configuration(ledger.database)
    before = configuration.text(key.name)
    if configuration.change(key.name, value) == REJECTED:
        assert configuration.text(key.name) == before
    else:
        assert Configuration(ledger.database).text(key.name) == configuration.text(key.name)
    ledger.close()


def test_typed_reading(configuration: Configuration) -> None:
    assert configuration.flag("LocalAuthorizeOffline") is True
    assert configuration.number("connectiontimeout") == 60
    assert configuration.words("StopTxnSampledData") == []
    assert configuration.words("ChargingScheduleAllowedChargingRateUnit") == ["Current", "Power"]
    with pytest.raises(KeyError):
        configuration.flag("NoSuchKey")


def test_a_change_is_told_to_who_listens_and_only_then(configuration: Configuration) -> None:
    heard: list[int] = []
    configuration.listen(
        "ConnectionTimeOut", lambda: heard.append(configuration.number("ConnectionTimeOut"))
    )
    configuration.change("CONNECTIONTIMEOUT", "5")
    configuration.change("ConnectionTimeOut", "no")
    configuration.change("HeartbeatInterval", "6")
    assert heard == [5]


def test_a_value_that_counts_after_a_reboot_is_said_to(configuration: Configuration) -> None:
    status = configuration.change("WebSocketPingInterval", "0")
    assert status == ConfigurationStatus.reboot_required
    assert configuration.number("WebSocketPingInterval") == 0


def test_what_was_changed_outlives_the_program_and_the_command_line(path: Path) -> None:
    ledger = Ledger(path)
    Configuration(ledger.database).change("HeartbeatInterval", "77")
    ledger.close()  # nothing is written then: what change() has answered was on disk before
    ledger = Ledger(path)
    initial = {"heartbeatInterval": "5", "ConnectionTimeOut": "9", "LocalAuthListMaxLength": "2"}
    configuration = Configuration(ledger.database, initial=initial)
    assert configuration.number("HeartbeatInterval") == 77
    assert configuration.number("ConnectionTimeOut") == 9
    assert configuration.number("LocalAuthListMaxLength") == 2
    ledger.close()


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        ({"Nope": "1"}, "no configuration key 'Nope'"),
        ({"HeartbeatInterval": "x"}, "whole number"),
        ({"ChargeProfileMaxStackLevel": "3"}, "can't be '3': it is 1"),
    ],
)
def test_a_wrong_initial_value_is_a_clear_error(
    ledger: Ledger, initial: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        Configuration(ledger.database, initial=initial)


@pytest.mark.parametrize(
    ("name", "value"),
    [("HeartbeatInterval", "bad"), ("NumberOfConnectors", "9"), ("Gone", "1")],
)
def test_a_kept_value_of_another_version_does_no_harm(
    ledger: Ledger, configuration: Configuration, name: str, value: str
) -> None:
    ledger.database.write("INSERT INTO configuration VALUES (?, ?)", (name, value))
    again = Configuration(ledger.database)
    assert again.read(None) == configuration.read(None)


def test_what_cannot_be_kept_is_not_changed(path: Path) -> None:
    ledger = Ledger(path)
    configuration = Configuration(ledger.database)
    path.rename(path.with_name("moved"))
    with pytest.raises(StorageError, match="removed"):
        configuration.change("HeartbeatInterval", "77")
    assert configuration.number("HeartbeatInterval") == 10
    ledger.close()


def test_reading_some_keys(configuration: Configuration) -> None:
    asked = ["heartbeatinterval", "Nope", "NumberOfConnectors", "HeartbeatInterval", "nope", ""]
    assert configuration.read(asked) == (
        [
            {"key": "HeartbeatInterval", "readonly": False, "value": "10"},
            {"key": "NumberOfConnectors", "readonly": True, "value": "1"},
        ],
        ["Nope", ""],
    )
    assert configuration.read([]) == configuration.read(None)


def test_more_keys_than_the_maximum_are_refused(ledger: Ledger) -> None:
    configuration = Configuration(ledger.database, initial={"GetConfigurationMaxKeys": "2"})
    assert len(configuration.read(["CpoName", "HeartbeatInterval"])[0]) == 2
    with pytest.raises(OccurenceConstraintViolationError, match="3 keys are asked for, at most 2"):
        configuration.read(["CpoName", "HeartbeatInterval", "Nope"])
    assert len(configuration.read(None)[0]) == len(KEYS)


def test_a_key_of_another_part(configuration: Configuration) -> None:
    level, secrets = [1], ["old"]

    def rise(text: str) -> bool:
        if text not in "23":
            return False
        level[0] = int(text)
        return True

    def change_key(text: str) -> bool:
        secrets.append(text)
        return True

    heard: list[str] = []
    configuration.provide(
        Key("SecurityProfile", Access.READ_WRITE, read=lambda: str(level[0]), write=rise)
    )
    configuration.provide(Key("AuthorizationKey", Access.WRITE_ONLY, write=change_key))
    configuration.listen("AuthorizationKey", lambda: heard.append("changed"))
    assert configuration.change("securityprofile", "2") == ACCEPTED
    assert configuration.change("SecurityProfile", "1") == REJECTED
    assert configuration.change("AUTHORIZATIONKEY", "0011") == ACCEPTED
    assert (level, secrets, heard) == ([2], ["old", "0011"], ["changed"])
    everything = configuration.read(None)[0]
    assert {"key": "SecurityProfile", "readonly": False, "value": "2"} in everything
    assert "AuthorizationKey" not in [item["key"] for item in everything]
    by_name = configuration.read(["AuthorizationKey"])
    assert by_name == ([{"key": "AuthorizationKey", "readonly": False}], [])
