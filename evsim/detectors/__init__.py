"""Detectors of anomalies: one file each, pure, fed with samples and their times."""
