"""The list of alarms: when each began and ended, why, and that it does not grow for ever."""

from __future__ import annotations

from evsim import alarm_list
from evsim.alarm_list import Alarm, AlarmList


def test_an_alarm_lasts_from_its_first_reason_to_the_first_look_without_one() -> None:
    alarms = AlarmList()
    for now_s, reason in [(0, None), (1, "a"), (2, "b"), (3, None), (4, None), (5, "c"), (6, "c")]:
        alarms.look(now_s, reason)
    assert list(alarms.alarms) == [Alarm(1, "a", 3), Alarm(5, "c", None)]
    assert alarms.last(1) == [Alarm(5, "c", None)]
    assert alarms.last(3) == [Alarm(5, "c", None), Alarm(1, "a", 3)]


def test_spans_are_cut_to_what_is_asked_for() -> None:
    alarms = AlarmList()
    for now_s, reason in [(1, "a"), (3, None), (5, "b"), (8, None), (10, "c")]:
        alarms.look(now_s, reason)
    assert alarms.spans(0, 12) == [(1, 3), (5, 8), (10, 12)]
    assert alarms.spans(3, 12) == [(5, 8), (10, 12)]
    assert alarms.spans(6, 12) == [(6, 8), (10, 12)]
    assert alarms.spans(13, 14) == [(13, 14)]
    assert AlarmList().spans(0, 12) == []


def test_days_of_alarms_fill_no_memory() -> None:
    alarms = AlarmList()
    for now_s in range(3 * alarm_list.MOST_ALARMS):
        alarms.look(2 * now_s, "a")
        alarms.look(2 * now_s + 1, None)
    assert len(alarms.alarms) == alarm_list.MOST_ALARMS
    assert alarms.last(1)[0].end_s == 6 * alarm_list.MOST_ALARMS - 1
