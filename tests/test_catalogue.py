"""Every entry of the catalogue is fully described, plays everywhere, and writes an honest label."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from catalogue_runs import ROOM_S, START_S, active, label_of, logged, recorded

from evsim import virtual_time
from evsim.anomalies import ANOMALIES, BENIGN, anomaly_named, benign_named
from evsim.anomalies.base import (
    Anomaly,
    Behaviour,
    CatalogueError,
    Episode,
    Layer,
    Player,
    Scene,
    Severity,
    perform,
)
from evsim.charger import PLANTS
from evsim.events import Kind
from evsim.labels import Label

ENTRIES: dict[str, Behaviour] = {**ANOMALIES, **BENIGN}
NAMES = (
    "repeated_fluctuation fleet_oscillation mass_on_off profile_manipulation denial_of_charge "
    "heartbeat_flood unauthorised_commands meter_scaling meter_replay session_extension "
    "can_plateau can_drift can_playback can_suppress can_flooding can_masquerade can_fuzzing "
    "limit_ignored contactor_cycling station_disconnection"
)
BENIGN_NAMES = (
    "plain_session taper solar_surplus load_sharing long_pause aborted_start integer_requests "
    "user_restart"
)
#: The named quantity that grows with severity, or falls; None: each is a different time scale.
GROWS = {
    "repeated_fluctuation": "cycles",
    "fleet_oscillation": "-period_s",
    "mass_on_off": "share",
    "profile_manipulation": "factor",
    "denial_of_charge": "duration_s",
    "heartbeat_flood": "rate_per_s",
    "unauthorised_commands": "stops",
    "meter_scaling": "-factor",
    "meter_replay": "duration_s",
    "session_extension": "-told_share",
    "can_plateau": "duration_s",
    "can_drift": "rate_a_per_s",
    "can_playback": "duration_s",
    "can_suppress": "duration_s",
    "can_flooding": "load",
    "can_masquerade": "-share",
    "can_fuzzing": "rate_per_s",
    "limit_ignored": "ratio",
    "contactor_cycling": "cycles",
    "station_disconnection": "duration_s",
}


# ── Descriptions ─────────────────────────────────────────────────────────────────────────────


def test_the_catalogue_has_the_published_names() -> None:
    assert list(ANOMALIES) == NAMES.split()
    assert list(BENIGN) == BENIGN_NAMES.split()
    assert all(name == entry.name for name, entry in ENTRIES.items())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_is_fully_described(entry: Behaviour) -> None:
    for text in (entry.summary, entry.signature):
        assert len(text) > 20
        assert text.endswith(".")
        assert "  " not in text
    assert len(entry.source) > 3
    assert isinstance(entry.player, Player)
    for parameter in entry.parameters:
        assert parameter.name.isidentifier()
        assert parameter.unit
        assert parameter.summary
    if isinstance(entry, Anomaly):
        assert isinstance(entry.layer, Layer)
        assert entry.seen_on
        for severity in Severity:
            assert 0 < entry.lasts_s(entry.values(severity)) < 1200


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_the_parameters_are_those_of_play(entry: Behaviour) -> None:
    arguments = inspect.signature(entry.play).parameters
    assert list(arguments) == ["scene", *(parameter.name for parameter in entry.parameters)]
    assert list(entry.values(Severity.MEDIUM)) == [p.name for p in entry.parameters]


@pytest.mark.parametrize("name", ANOMALIES)
def test_severity_grows(name: str) -> None:
    quantity = GROWS[name]
    values = [ANOMALIES[name].values(s)[quantity.lstrip("-")] for s in Severity]
    if quantity.startswith("-"):
        values.reverse()
    assert values == sorted(set(values))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: anomaly_named("gremlins"), "no anomaly 'gremlins'; known are: repeated_fluct"),
        (lambda: benign_named("gremlins"), "no benign behaviour 'gremlins'; known are: plain_"),
        (
            lambda: anomaly_named("can_drift").values(Severity.LOW, {"speed": 1}),
            r"can_drift has no parameter 'speed'; it has: rate_a_per_s \(A/s\), duration_s \(s\)",
        ),
        (
            lambda: benign_named("taper").values(Severity.LOW, {"speed": 1}),
            "taper has no parameter 'speed'; it has: none",
        ),
        (
            lambda: anomaly_named("heartbeat_flood").values(Severity.LOW, {"rate_per_s": 0}),
            "heartbeat_flood: rate_per_s is to be more than 0, not 0",
        ),
        (
            lambda: anomaly_named("can_masquerade").values(Severity.LOW, {"share": -1}),
            "can_masquerade: share is to be 0 or more, not -1",
        ),
        (
            lambda: anomaly_named("can_drift").values(Severity.LOW, {"duration_s": float("nan")}),
            "duration_s is to be more than 0, not nan",
        ),
    ],
)
def test_what_is_not_there_is_a_clear_error(ask: Callable[[], object], words: str) -> None:
    with pytest.raises(CatalogueError, match=words) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_chosen_parameters_take_the_place_of_the_severitys() -> None:
    values = anomaly_named("can_masquerade").values(Severity.HIGH, {"share": 0})
    assert values == {"share": 0.0, "duration_s": 180.0}


def empty_scene(labels: list[Label]) -> Scene:
    """Give a scene in which nobody is."""
    loop = asyncio.get_running_loop()
    return Scene(
        now_s=lambda: START_S + loop.time(),
        rng=np.random.default_rng(1),
        label=labels.append,
    )


PARTS = {Player.OCPP_LINK, Player.CAN_NODE, Player.CAN_GATEWAY, Player.CAR, Player.POWER_MODULE}


@pytest.mark.parametrize("name", [n for n, a in ANOMALIES.items() if a.player in PARTS])
def test_a_scene_without_the_part_that_plays_is_a_clear_error(name: str) -> None:
    entry = ANOMALIES[name]

    async def main() -> None:
        with pytest.raises(CatalogueError, match="this anomaly is played") as caught:
            await entry.play(empty_scene([]), **entry.values(Severity.LOW))
        assert ".py" in str(caught.value)

    virtual_time.run(main())


# ── Playing ──────────────────────────────────────────────────────────────────────────────────


#: Tens of thousands of frames or messages; once at full length is enough, s.
SHORTER_S = {"can_flooding": 2.0, "can_fuzzing": 2.0, "heartbeat_flood": 20.0}


def spec_of(name: str, plant: str, severity: Severity) -> dict[str, Any]:
    spec: dict[str, Any] = {"plant": plant, "severity": str(severity)}
    if plant != "dc" and name in SHORTER_S:
        spec["parameters"] = (("duration_s", SHORTER_S[name]),)
    if plant in ("ideal", "dc_slow") and ANOMALIES[name].fleet:
        spec["charge_points"] = 2
    return spec


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", ANOMALIES)
def test_an_entry_plays_on_every_plant_with_every_severity(name: str, plant: str) -> None:
    entry = ANOMALIES[name]
    for severity in Severity:
        spec = spec_of(name, plant, severity)
        run = recorded(name, **spec)
        label = label_of(run)
        assert (label.anomaly, label.layer, label.severity) == (name, entry.layer, severity)
        assert label.targets >= set(run.info["charge_points"])
        end_s = START_S + run.info["duration_s"]
        assert START_S + 60 < label.t_start_s < label.t_end_s < end_s
        if label.effect_start_s is not None and label.effect_end_s is not None:
            assert label.t_start_s <= label.effect_start_s <= label.effect_end_s < end_s
        assert label.t_end_s - label.t_start_s <= entry.lasts_s(run.info["parameters"]) + 1
        assert len(run.series["time"]) == run.info["duration_s"] * len(run.info["charge_points"])
        assert {event.kind for event in run.ocpp} >= {Kind.CALL, Kind.CALL_RESULT, Kind.LINK}
        assert not [text for text in logged(name, **spec) if "Traceback" in text or "fail" in text]


#: Where there is nothing to be seen: pulses are too short for the AC plant's car, and a slow charge
#: moves the state of charge too little.
INVISIBLE = {("repeated_fluctuation", "ac"), ("session_extension", "ac")}
#: A value of a moment before is false by its noise only, until a limit changes.
HIDDEN_WHILE_STEADY = {"can_plateau", "can_playback"}


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", ANOMALIES)
def test_its_effect_can_be_seen_but_where_physics_hides_it(name: str, plant: str) -> None:
    for severity in Severity:
        if (name, plant) in INVISIBLE:
            continue
        spec = spec_of(name, plant, severity)
        if name in HIDDEN_WHILE_STEADY:
            if severity != Severity.HIGH:
                continue  # too short for a new limit to be sure
            spec["benign"] = "load_sharing"
        assert label_of(recorded(name, **spec)).effect_start_s is not None


def test_the_same_seed_makes_the_same_anomaly() -> None:
    for name in ("heartbeat_flood", "can_fuzzing", "denial_of_charge"):
        one = recorded(name, severity="low")
        other = recorded(name, severity="low", room_s=ROOM_S)  # the same, made anew
        assert one is not other
        assert one.labels == other.labels
        assert one.ocpp == other.ocpp
        assert one.can.time_s.tolist() == other.can.time_s.tolist()
        assert one.can.data.tolist() == other.can.data.tolist()


def test_the_moment_of_an_anomaly_is_anywhere() -> None:
    starts_s = [
        active(recorded("can_drift", seed=seed, room_s=300.0))[0] - START_S for seed in range(8)
    ]
    assert np.ptp(starts_s) > 100


def test_neighbours_of_the_target_notice_nothing() -> None:
    """What is about one charge point changes nothing at the others."""
    for name in ("repeated_fluctuation", "profile_manipulation"):
        fleet: dict[str, Any] = {"charge_points": 3, "benign": "integer_requests"}
        run = recorded(name, severity="low", **fleet)
        truth = recorded(duration_s=run.info["duration_s"], **fleet)
        target = label_of(run).target
        rows = run.series["charge_point"] != target
        assert len(run.info["charge_points"]) == 3
        assert rows.mean() == pytest.approx(2 / 3)
        for column in ("current_a", "limit_a"):
            assert np.array_equal(
                run.series[column][rows], truth.series[column][rows], equal_nan=True
            )
        mine = run.series["charge_point"] == target
        assert not np.array_equal(
            run.series["current_a"][mine], truth.series["current_a"][mine], equal_nan=True
        )


# ── The label ────────────────────────────────────────────────────────────────────────────────


def play(work: Callable[[Scene], object], *, cancel_after_s: float | None = None) -> Label:
    """Perform an anomaly that does `work`; give its label."""
    labels: list[Label] = []

    async def act(scene: Scene, duration_s: float) -> None:
        work(scene)
        await asyncio.sleep(duration_s)
        scene.note_effect()

    entry = ANOMALIES["can_plateau"]
    described = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    anomaly = Anomaly(**{**described, "play": act})

    async def main() -> None:
        scene = empty_scene(labels)
        task = asyncio.create_task(perform(anomaly, scene, Severity.LOW, {"duration_s": 60.0}))
        if cancel_after_s is not None:
            await asyncio.sleep(cancel_after_s)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_time.run(main())
    (label,) = labels
    return label


def test_a_label_tells_when_it_was_active_and_seen() -> None:
    label = play(lambda scene: None)
    assert (label.t_start_s, label.t_end_s) == (START_S, START_S + 60)
    assert (label.effect_start_s, label.effect_end_s) == (START_S + 60, START_S + 60)
    label = play(Scene.note_effect)
    assert (label.effect_start_s, label.effect_end_s) == (START_S, START_S + 60)


def test_an_effect_may_outlast_its_anomaly() -> None:
    label = play(Scene.over)
    assert (label.t_end_s, label.effect_end_s) == (START_S, START_S + 60)


def test_a_cancelled_anomaly_is_labelled_too() -> None:
    label = play(lambda scene: None, cancel_after_s=20.0)
    assert label.t_end_s == START_S + 20
    assert label.effect_start_s is None


def test_changes_at_other_charge_points_are_no_effect() -> None:
    async def main() -> None:
        scene = empty_scene([])
        for charge_points, seen in (((), False), (("CP_2",), True)):
            scene.episode = Episode(0.0)
            with scene.watching_changes(charge_points):
                for current_a in (0.0, 80.0, 0.0):
                    scene.hear("CP_2", current_a)
            assert (scene.episode.effect_start_s is not None) is seen
        scene.episode = Episode(0.0)
        with scene.watching_changes():
            scene.hear("CP_1", 3.0)
            scene.hear("CP_1", 7.9)
            assert scene.episode.effect_start_s is None
            scene.hear("CP_1", 3.0)
        assert scene.episode.effect_start_s is None
        assert scene.listeners == []

    virtual_time.run(main())
