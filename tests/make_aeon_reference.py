"""Writes tests/aeon_reference.json: what aeon makes of series that test_ranges.py makes again.

aeon cannot be installed beside the numpy that this project pins (it needs numba below 0.64, which
needs numpy below 2.4), so it runs in an environment of its own, and the repository keeps its
answers:

    python3 -m venv aeon && aeon/bin/pip install aeon==1.6.0
    aeon/bin/python tests/make_aeon_reference.py
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

REFERENCE = Path(__file__).with_name("aeon_reference.json")
BUFFERS_S = (0, 1, 7, 100)
SEED = 20260101


def cases() -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    """Give names, labels and scores; an alarm is on from a score of 1."""
    rng = np.random.default_rng(SEED)
    for number in range(24):
        count = int(rng.integers(60, 900))
        labels = np.zeros(count, dtype=np.bool_)
        for _ in range(int(rng.integers(1, 6))):  # some overlap, touch, or reach an end
            first = int(rng.integers(-20, count))
            labels[max(0, first) : first + int(rng.integers(1, 90))] = True
        labels[count // 2] = True
        chance = rng.uniform(0, 1.3, count)
        late = np.roll(labels, int(rng.integers(-5, 30)))
        yield f"random {number}", labels, chance
        yield f"of few values {number}", labels, (np.round(chance * 4) / 4).astype(np.float64)
        yield f"an alarm that is late {number}", labels, late.astype(float)
        yield (
            f"late, and not sure {number}",
            labels,
            late + rng.normal(0, 0.3, count),
        )
    ends = np.zeros(300, dtype=np.bool_)
    ends[:10] = ends[-25:] = ends[140] = True
    second = np.arange(300)
    yield "exact", ends, ends.astype(float)
    yield "the wrong way round", ends, (~ends).astype(float)
    yield "one second", ends, (second == 140).astype(float)
    yield "never right", ends, (second == 70).astype(float)
    yield "in pieces", ends, (second % 3 == 0).astype(float)
    yield "steadily rising", ends, np.linspace(0.0, 2.0, 300)
    yield "beyond all bounds", ends, np.where(ends, 1e9, -1e9)


def main() -> None:
    """Ask aeon, and write."""
    theirs = importlib.import_module("aeon.benchmarking.metrics.anomaly_detection")
    answers = {
        name: {
            "vus_pr": {
                str(most_s): theirs.range_pr_vus_score(
                    labels.astype(int), scores, max_buffer_size=most_s
                )
                for most_s in BUFFERS_S
            },
            "range_f1": theirs.range_f_score(labels.astype(int), (scores >= 1).astype(int)),
        }
        for name, labels, scores in cases()
    }
    text = json.dumps({"aeon": metadata.version("aeon"), "answers": answers}, indent=1)
    REFERENCE.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
