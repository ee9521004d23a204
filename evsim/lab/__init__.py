"""The lab's plan: what a run is made of, and which runs make a data set.

run_spec.py   everything that decides one run
suite.py      the runs of a set
many_runs.py  a set on all cores, to be resumed after an interruption
"""
