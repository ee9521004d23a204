"""Events and labels are plain values that say on the disk what they say in the program."""

from __future__ import annotations

import csv
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.events import Direction, Kind
from evsim.labels import LABEL_COLUMNS, SEVERITIES, Label

TEXTS = st.text(min_size=1, max_size=20).filter(str.isprintable)
TIMES_S = st.integers(0, 4_000_000_000_000_000).map(lambda us: us / 1e6)


def label(**changes: object) -> Label:
    values: dict[str, object] = {
        "anomaly": "can_drift",
        "layer": "can",
        "target": "CP_1",
        "t_start_s": 10.0,
        "t_end_s": 20.0,
        "effect_start_s": 11.0,
        "effect_end_s": 25.5,
        "severity": "low",
    }
    return Label(**(values | changes))  # type: ignore[arg-type]


def test_kinds_and_directions_are_the_words_of_the_file() -> None:
    assert [str(kind) for kind in Kind] == ["CALL", "CALLRESULT", "CALLERROR", "LINK"]
    assert [str(d) for d in Direction] == ["to_charge_point", "to_central_system"]


@given(
    TEXTS,
    TEXTS,
    TEXTS,
    st.tuples(TIMES_S, TIMES_S).map(sorted),
    st.none() | st.tuples(TIMES_S, TIMES_S).map(sorted),
    st.sampled_from(SEVERITIES),
)
def test_a_label_survives_its_line(
    anomaly: str,
    layer: str,
    target: str,
    interval: list[float],
    effect: list[float] | None,
    severity: str,
) -> None:
    start_s, end_s = effect or (None, None)
    written = Label(anomaly, layer, target, interval[0], interval[1], start_s, end_s, severity)
    (line,) = written.to_csv().splitlines()
    (cells,) = csv.reader([line], strict=True)
    read = Label.from_row(dict(zip(LABEL_COLUMNS, cells, strict=True)))
    assert read.to_csv() == written.to_csv()
    assert (read.anomaly, read.layer, read.target) == (anomaly, layer, target)
    assert read.t_start_s == pytest.approx(written.t_start_s, abs=1e-6)
    assert (read.effect_start_s is None) is (effect is None)


def test_a_line_as_it_is() -> None:
    assert label().to_csv() == ("can_drift,can,CP_1,10.000000,20.000000,11.000000,25.500000,low\n")
    unseen = label(effect_start_s=None, effect_end_s=None)
    assert unseen.to_csv() == "can_drift,can,CP_1,10.000000,20.000000,,,low\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"anomaly": ""}, "anomaly"),
        ({"target": "CP_1\nCP_2"}, "target"),
        ({"severity": "very"}, "severity"),
        ({"t_end_s": 9.0}, "no interval"),
        ({"t_start_s": math.nan}, "no interval"),
        ({"t_end_s": math.inf}, "no interval"),
        ({"effect_end_s": None}, "both or neither"),
        ({"effect_start_s": 26.0}, "no interval"),
    ],
)
def test_what_is_no_label_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        label(**changes)


def test_a_fleet_is_several_targets() -> None:
    assert label(target="CP_1;CP_2").targets >= {"CP_1", "CP_2"}
    assert label().targets == {"CP_1"}
