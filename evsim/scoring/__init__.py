"""How good a detector is: run it over recordings, compare with the labels, say it honestly.

running.py   a detector over a stream of events: scores at 1 Hz, alarms
metrics.py   recall, delays, false alarms, bootstrap intervals
ranges.py    VUS-PR and range-F1, second by second
training.py  makes the learned detectors from a set's benign runs
sets.py      all detectors over all runs of a set, on all cores
report.py    the figures, the table, scores.json and report.md
targets.py   what the project wants of them
html.py      report.html, with the pictures of figures.py
"""
