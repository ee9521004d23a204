"""The learned detectors: what they learn from, that they are the libraries' own, what they say."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest
from test_detectors import PULSES, SESSION, T, call, currents, cycles, numbers, reasons

from evsim.detectors import CHALLENGERS, Detector, detector_named
from evsim.detectors.window_features import FEATURES, WindowFeatures
from evsim.errors import UserError
from evsim.events import CanEvent, Direction
from evsim.lab.run_spec import RunSpec
from evsim.scoring import training
from evsim.scoring.training import as_arrays, features_of, train
from simulate import simulate

BENIGN = RunSpec(duration_s=500)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("learnt")
    for seed in (1001, 1002, 2001, 3001):
        simulate(replace(BENIGN, seed=seed), directory / f"run_{seed}")
    attacked = replace(BENIGN, seed=1003, anomaly="unauthorised_commands", severity="low")  # type: ignore[arg-type]
    simulate(attacked, directory / "run_1003")
    return sorted(directory.iterdir())


@pytest.fixture(scope="module")
def factories(runs: list[Path]) -> Any:
    return train([*CHALLENGERS], runs)


def test_the_features_of_a_minute() -> None:
    window = WindowFeatures()
    assert window.at(T) is None
    for event in sorted([*currents(PULSES), *cycles(8)], key=lambda event: event.time_s):
        window.observe(event)
    at = window.at(T + 63)
    assert at is not None
    told = dict(zip([feature.name for feature in FEATURES], at.tolist(), strict=True))
    last_minute = PULSES[4:64]
    assert told["the mean current"] == pytest.approx(np.mean(last_minute))
    assert told["the spread of the current"] == pytest.approx(np.std(last_minute))
    assert told["the range of the current"] == 100
    changes = np.count_nonzero(np.diff(last_minute))
    assert told["the number of changes of 5 A or more"] == changes
    assert told["the number of CAN frames"] == 60
    assert told["the longest time between two 0x300"] == 1
    assert told["the number of commands"] == told["the number of OCPP messages"] == 29


def test_a_flood_is_unusual_and_its_reason_is_a_feature_with_its_range(
    runs: list[Path], factories: Any
) -> None:
    stranger = can.Message(arbitration_id=0x123, is_extended_id=False)
    flood = [
        event
        for number in range(300)
        for event in (
            call(100 + number / 4, Direction.TO_CENTRAL_SYSTEM, "Heartbeat"),
            CanEvent(T + 100 + number / 4, "CP_1", stranger),
        )
    ]
    events = [*currents(PULSES * 3), *cycles(24), *flood]
    for name in CHALLENGERS:
        # These few runs hold too little for a threshold without false alarms.
        model = factories[name]().model
        usual = np.percentile([model.unusual(row) for row in features_of(runs[0])], 90)
        found = reasons(factories[name](threshold=float(usual)), events, 180)
        window_s, value, low, high = numbers(found[170].replace("of 5 A", "of"))
        assert window_s == 60
        assert not low <= value <= high


def test_a_quiet_charger_is_not_unusual(factories: Any) -> None:
    for name in CHALLENGERS:
        assert not reasons(factories[name](), [], 60)
        assert factories[name]().score_at(T) == 0


def test_they_learn_from_benign_training_runs_and_check_on_validation(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def watched(run: Path) -> Any:
        read.append(run.name)
        return features_of(run)

    monkeypatch.setattr(training, "features_of", watched)
    made = train(["isolation_forest"], runs)["isolation_forest"]
    assert read == ["run_1001", "run_1002", "run_2001"]
    detector: Any = made()
    highest = max(detector.model.unusual(row) for row in features_of(runs[3]))
    assert runs[3].name == "run_2001"
    assert detector.threshold == pytest.approx(highest)
    assert detector.threshold > highest


def test_the_forest_is_that_of_the_library() -> None:
    from sklearn.ensemble import IsolationForest

    rng = np.random.default_rng(1)
    forest: Any = IsolationForest
    theirs = forest(n_estimators=50, random_state=1).fit(rng.normal(size=(600, 10)))
    rows = rng.normal(scale=2, size=(200, 10))
    ours = as_arrays(theirs)
    assert [ours.unusual(row) for row in rows] == pytest.approx(-theirs.score_samples(rows))


def test_what_is_missing_is_one_line(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no benign run of the validation seeds.*--seeds 3"):
        train(["isolation_forest"], [run for run in runs if "run_2" not in run.name])
    with pytest.raises(UserError, match="half_space_trees is trained on a set"):
        detector_named("half_space_trees")
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith(("sklearn", "river")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for name, package in (("isolation_forest", "sklearn"), ("half_space_trees", "river")):
        with pytest.raises(UserError, match=rf"{name} needs {package}.*pip install -e '\.\[ml\]'"):
            train([name], runs)


@pytest.mark.parametrize("name", CHALLENGERS)
def test_reset_forgets_events_and_nothing_else(factories: Any, name: str) -> None:
    detector, fresh = factories[name](), factories[name]()
    for event in [*currents(SESSION), *cycles(3)]:
        detector.observe(event)
    detector.reset()
    for each in (detector, fresh):
        for event in currents(PULSES):
            each.observe(event)
    assert isinstance(detector, Detector)
    assert detector.score_at(T + 64) == fresh.score_at(T + 64)
