"""The targets: met, missed, or not measured, by the figures."""

from __future__ import annotations

from typing import Any

import pytest

from evsim.scoring.targets import targets, verdict


def figures(**changed: Any) -> dict[str, Any]:
    return {
        "recall": 0.97, "vus_pr": 0.85, "episodes": 240, "benign_hours": 218.0,
        "false_alarms_per_benign_hour": 0.0,
        "false_alarms_per_hour_by_family": {"taper": 0.0, "long_pause": 0.0},
        "base_scenario_by_plant": {"dc": {"recall": 1.0, "delay_median_s": 15.0},
                                   "ac": {"recall": None, "recall_of_all": 1.0,
                                          "delay_median_s": 13.0}},
    } | changed  # fmt: skip


def verdicts(**detectors: dict[str, Any]) -> dict[str, str]:
    return {target.what: verdict(target.met) for target in targets(detectors)}


def test_figures_that_are_good_enough_meet_all() -> None:
    told = verdicts(turning_points=figures(), command_rate=figures(), combined=figures())
    assert set(told.values()) == {"met"}
    assert "base scenario on dc, turning_points: median delay, s" in told
    assert "base scenario on ac, command_rate: recall" in told
    assert not any("on ac, turning_points" in what for what in told)


@pytest.mark.parametrize(
    ("changed", "what", "word"),
    [
        ({"recall": 0.94}, "recall", "MISSED"),
        ({"vus_pr": 0.79}, "VUS-PR", "MISSED"),
        ({"false_alarms_per_benign_hour": 0.06}, "per benign hour", "MISSED"),
        ({"false_alarms_per_hour_by_family": {"taper": 0.01}}, "with a false alarm", "MISSED"),
        ({"benign_hours": 199.0}, "with a false alarm", "not measured"),
    ],
)
def test_a_figure_that_is_not_misses_its_own(changed: dict[str, Any], what: str, word: str) -> None:
    told = verdicts(combined=figures(**changed))
    assert [w for w, v in told.items() if v != "met"] == [w for w in told if what in w]
    assert {told[w] for w in told if what in w} == {word}


def test_what_was_not_scored_is_no_target() -> None:
    assert targets({"random": figures()}) == []
    late = {"dc": {"recall": 1.0, "delay_median_s": 16.5}}
    told = verdicts(turning_points=figures(base_scenario_by_plant=late, benign_hours=0.0,
                                           false_alarms_per_hour_by_family={}))  # fmt: skip
    assert told == {
        "base scenario on dc, turning_points: recall": "met",
        "base scenario on dc, turning_points: median delay, s": "MISSED",
    }
