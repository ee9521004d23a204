"""The store of charging profiles: what replaces what, what is kept, what is dropped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ocpp.v16.enums import ChargingProfilePurposeType, ChargingRateUnitType
from profile_example import NOON, RULES, after, read, transaction

from evsim.charge_point.charging_profiles import MAX_PROFILES, Profile, ProfileError, ProfileRules
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.profile_store import ProfileStore
from evsim.charger import PLANTS
from evsim.sqlite import IN_MEMORY, Database, open_database


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(open_database(IN_MEMORY, "")) as made:
        yield made


@pytest.fixture
def profiles(database: Database) -> ProfileStore:
    return ProfileStore(database, RULES)


def put(store: ProfileStore, *profiles: Profile) -> ProfileStore:
    for profile in profiles:
        store.put(profile)
    return store


def test_same_id_or_same_place_replaces(profiles: ProfileStore) -> None:
    put(profiles, read((0, 10), number=1), read((0, 20), number=1, level=3))
    assert profiles.limit_a(NOON, None) == 20
    profiles.put(read((0, 5), number=9, level=3))
    assert profiles.limit_a(NOON, None) == 5
    assert profiles.clear() == 1


def test_the_same_level_of_another_purpose_or_connector_does_not_replace(
    profiles: ProfileStore,
) -> None:
    running = transaction()
    put(
        profiles,
        read((0, 40), number=1),
        read((0, 50), number=2, connector_id=0),
        read((0, 60), number=3, purpose="ChargePointMaxProfile", connector_id=0),
        read((0, 70), number=4, purpose="TxProfile", running=running),
    )
    assert profiles.clear() == 4


def test_there_is_an_end_to_the_room(profiles: ProfileStore) -> None:
    places = [(connector_id, level) for connector_id in (0, 1) for level in range(11)]
    for number, (connector_id, level) in enumerate(places[:MAX_PROFILES]):
        profiles.put(read((0, 1), number=number, level=level, connector_id=connector_id))
    connector_id, level = places[MAX_PROFILES]
    with pytest.raises(ProfileError, match="already"):
        profiles.put(read((0, 1), number=99, level=level, connector_id=connector_id))
    profiles.put(read((0, 2), number=99, level=0, connector_id=1))
    profiles.put(read((0, 2), number=99, level=level, connector_id=connector_id))


def test_tx_profiles_end_with_the_transaction(profiles: ProfileStore) -> None:
    running = transaction()
    put(profiles, read((0, 30)), read((0, 50), number=2, purpose="TxProfile", running=running))
    assert profiles.limit_a(NOON, running) == 50
    profiles.end_transaction()
    assert profiles.limit_a(NOON, running) == 30


CRITERIA: list[tuple[dict[str, Any], set[int]]] = [
    ({}, {1, 2, 3, 4}),
    ({"profile_id": 2}, {2}),
    ({"connector_id": 0}, {3, 4}),
    ({"stack_level": 1}, {2, 4}),
    ({"purpose": "TxDefaultProfile"}, {1, 2, 4}),
    ({"purpose": "TxDefaultProfile", "stack_level": 1}, {2, 4}),
    ({"purpose": "TxDefaultProfile", "stack_level": 1, "connector_id": 0}, {4}),
    ({"purpose": "ChargePointMaxProfile", "connector_id": 1}, set()),
    ({"purpose": "TxProfile"}, set()),
    ({"profile_id": 1, "stack_level": 1}, set()),
    ({"profile_id": 10**30}, set()),
    ({"connector_id": 10**30}, set()),
]


@pytest.mark.parametrize(("criteria", "expected"), CRITERIA, ids=str)
def test_what_meets_all_criteria_is_cleared_for_good(
    database: Database, profiles: ProfileStore, criteria: dict[str, Any], expected: set[int]
) -> None:
    put(
        profiles,
        read((0, 10), number=1),
        read((0, 20), number=2, level=1),
        read((0, 30), number=3, purpose="ChargePointMaxProfile", connector_id=0),
        read((0, 40), number=4, level=1, connector_id=0),
    )
    assert profiles.clear(**criteria) == len(expected)
    again = ProfileStore(database, RULES)
    left = {number for number in (1, 2, 3, 4) if again.clear(profile_id=number)}
    assert left == {1, 2, 3, 4} - expected


def test_what_is_taken_is_there_after_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cp.sqlite"
    with closing(Ledger(path)) as ledger:
        put(
            ProfileStore(ledger.database, RULES),
            read((0, 10), (60, 20), number=1),
            read((0, 30), number=2, level=1, schedule={"duration": 30}),
            read((0, 40_000), unit="W", purpose="ChargePointMaxProfile", number=3, connector_id=0),
            read((0, 99), number=4, purpose="TxProfile", running=transaction()),
        )
    with closing(Ledger(path)) as ledger:
        again = ProfileStore(ledger.database, RULES)
        seen = [again.limit_a(after(s), None) for s in (0, 29, 30, 60)]
        assert seen == [30, 30, 10, 20]
        assert again.clear(purpose=ChargingProfilePurposeType.tx_profile) == 0
        assert again.clear(purpose=ChargingProfilePurposeType.charge_point_max_profile) == 1
    assert not caplog.records, "a TxProfile is nothing to warn of: it has ended"


def test_a_tx_profile_that_replaces_a_kept_one_replaces_it_for_good(database: Database) -> None:
    running = transaction()
    put(
        ProfileStore(database, RULES),
        read((0, 10), number=1),
        read((0, 50), number=1, purpose="TxProfile", running=running),
    )
    assert ProfileStore(database, RULES).limit_a(NOON, None) is None


def test_a_profile_costs_one_small_write(database: Database, profiles: ProfileStore) -> None:
    statements: list[str] = []
    profiles.put(read((0, 100)))
    database.set_trace_callback(statements.append)
    profiles.put(read((0, 0)))
    assert [statement.split()[0] for statement in statements] == ["INSERT"]
    profiles.end_transaction()
    assert len(statements) == 1


DAMAGE = [
    ("connector_id = 'one'", "text where a number belongs"),
    ("connector_id = 7", "a connector that is not there"),
    ("taken_at = 'noon'", "no time stamp"),
    ("profile = '{'", "no JSON"),
    ("profile = '[]'", "a list"),
    ("profile = '{}'", "nothing in it"),
    ("profile = 'null'", "nothing"),
    ("profile = X'00ff'", "bytes"),
    ("profile = '" + "[" * 20_000 + "'", "too deep"),
    ("""profile = replace(profile, '"limit": 10', '"limit": "ten"')""", "a limit in words"),
    ("""profile = replace(profile, '"limit": 10', '"limit": NaN')""", "a limit that is none"),
    ("""profile = replace(profile, '"limit": 10', '"limit": [10]')""", "a list of limits"),
    ("""profile = replace(profile, 'Relative', 'Circular')""", "an unknown kind"),
    ("""profile = replace(profile, '"stack_level"', '"level"')""", "no level"),
    ("""profile = replace(profile, 'TxDefaultProfile', 'TxProfile')""", "a TxProfile"),
]


@pytest.mark.parametrize("damage", [d for d, _ in DAMAGE], ids=[why for _, why in DAMAGE])
def test_damaged_rows_are_left_out_with_one_warning(
    database: Database, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    put(
        ProfileStore(database, RULES),
        read((0, 10), number=1),
        read((0, 10), number=2, level=1),
        read((0, 30), number=3, level=2),
    )
    database.execute(f"UPDATE charging_profiles SET {damage} WHERE profile_id < 3")
    again = ProfileStore(database, RULES)
    (record,) = caplog.records
    assert "2 of the charging profiles kept cannot be used" in record.getMessage()
    assert again.limit_a(NOON, None) == 30
    again.put(read((0, 5), number=1, level=5))
    caplog.clear()
    assert ProfileStore(database, RULES).limit_a(NOON, None) == 5


def test_profiles_of_a_unit_no_longer_taken_wait_for_its_return(database: Database) -> None:
    ProfileStore(database, RULES).put(read((0, 10)))
    watts_only = ProfileRules(PLANTS["dc"], units=frozenset({ChargingRateUnitType.watts}))
    assert ProfileStore(database, watts_only).limit_a(NOON, None) is None
    assert ProfileStore(database, RULES).limit_a(NOON, None) == 10


WRITES_FOR_EVER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from profile_example import RULES, read
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.profile_store import ProfileStore
profiles = ProfileStore(Ledger(Path(sys.argv[1])).database, RULES)
number = 0
while True:
    number += 1
    profiles.put(read((0, number), number=number))
    print(number, flush=True)
"""


def test_what_was_accepted_survives_being_killed(tmp_path: Path) -> None:
    path = tmp_path / "cp.sqlite"
    command = [sys.executable, "-c", WRITES_FOR_EVER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "50\n":
            assert line, "it ended early"
        process.kill()
    with closing(Ledger(path)) as ledger:
        limit_a = ProfileStore(ledger.database, RULES).limit_a(NOON, None)
    assert limit_a is not None
    assert limit_a >= 50
