"""The catalogue on the wall clock: what csms.py, charger_module.py and attack_can.py share.

options        their command line, and which of them plays an entry
cast           for run_all.sh: which programs take part in a play, with which arguments
moment         waits for the moment to begin, and plays an anomaly on the CAN side
central_stage  benign behaviours and anomalies behind a central system's back
recording      a recording that ends its program, in one line, when it cannot go on
"""
