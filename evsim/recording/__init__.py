"""Write and read labelled runs.

A run is a directory:

    can.log        CAN frames as candump writes them (or can.blf, can.asc); channel: charge point
    charger.dbc    what their bytes mean
    ocpp.jsonl     OCPP messages, one a line, with their time, direction and action
    series.csv     one row for each second and charge point (series.parquet, if pyarrow is there)
    trace.jsonl    what became of each command: decision, CAN frame, current, alarm
    labels.csv     the anomalies: when each was active, and when its effect could be seen
    run.json       what was played; written last, so a directory without it is half written

To load one:

    from evsim.recording import load, row_labels

    run = load(directory)
    current_a = run.series["current_a"]              # float64, one for each row, NaN: not known
    limits = run.can.data[run.can.arbitration_id == 528]
    starts = [e for e in run.ocpp if e.action == "RemoteStartTransaction"]
    active, visible = row_labels(run)                # bool, one for each row

Who writes and who reads:

    recorder    Recorder: the lab's, a directory that appears when it is whole
    live        LiveRecorder: several processes into one directory; finish_live() makes it whole
      writers     one class for each file       candump     a frame <-> a line
      messages    from a link's tap to events   layout      names, columns, formats
      derived     feeds the events to series and trace
    loading     load(), read_events(), row_labels()
      reading     each file, line by line, without trust
    errors      RecordingError names file and line, and says what to do
"""

from __future__ import annotations

from evsim.recording.errors import CannotWriteError, RecordingError
from evsim.recording.live import LiveRecorder, finish_live
from evsim.recording.loading import CanFlag, CanFrames, Run, load, read_events, row_labels
from evsim.recording.recorder import Recorder

__all__ = [
    "CanFlag",
    "CanFrames",
    "CannotWriteError",
    "LiveRecorder",
    "Recorder",
    "RecordingError",
    "Run",
    "finish_live",
    "load",
    "read_events",
    "row_labels",
]
