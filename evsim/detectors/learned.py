"""Learned detectors: challengers that know nothing but what benign minutes look like.

They are trained on the benign runs of a set's training seeds, their thresholds are the highest
score of its benign validation seeds (evsim.scoring.training). So without a set they do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from evsim.detectors.base import Detector
from evsim.detectors.window_features import FEATURES, WINDOW_S, WindowFeatures
from evsim.events import Event

Numbers = NDArray[np.float64]


class Model(Protocol):
    """What was learned: how unusual features are, more being more unusual."""

    def unusual(self, features: Numbers) -> float:
        """Give the score of one minute."""


@dataclass(frozen=True)
class Forest:
    """An isolation forest (Liu, Ting and Zhou, 2008) as arrays, shape (trees, nodes).

    One minute at a time, scikit-learn's own takes milliseconds for a score; this gives the same one
    in microseconds. A leaf is its own child.
    """

    feature: NDArray[np.intp]
    threshold: Numbers
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    #: At a leaf, how many splits isolate what falls there, on average.
    path_length: Numbers
    depth: int
    #: The path length of a search tree of as many samples as each tree has seen.
    typical: float

    def unusual(self, features: Numbers) -> float:
        """Give the anomaly score: 2 to the power of minus mean path length by the typical one."""
        values = features.astype(np.float32)  # as scikit-learn compares them
        trees = np.arange(len(self.feature))
        node = np.zeros(len(trees), dtype=np.intp)
        for _ in range(self.depth):
            goes_left = values[self.feature[trees, node]] <= self.threshold[trees, node]
            node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
        return float(2 ** (-self.path_length[trees, node].mean() / self.typical))


class _Trees(Protocol):
    def score_one(self, x: dict[int, float]) -> float: ...


@dataclass(frozen=True)
class HalfSpace:
    """river's half-space trees (Tan, Ting and Liu, 2011), which learn no more.

    :param low: of each feature in training; it and
    :param span: bring the features to 0 to 1, which the trees ask for.
    """

    trees: _Trees
    low: Numbers
    span: Numbers

    def unusual(self, features: Numbers) -> float:
        """Give river's score."""
        return self.trees.score_one(self.scaled(features))

    def scaled(self, features: Numbers) -> dict[int, float]:
        """Bring the features to where the trees look."""
        values = np.clip((features - self.low) / self.span, 0.0, 1.0)
        return dict(enumerate(values.tolist()))


class Learned(Detector):
    """Compares the last minute with the benign ones.

    :param model: what was learned of them.
    :param threshold: the alarm is on from this score of the model.
    :param low: of each feature, what hardly any benign minute is below, and
    :param high: above.
    """

    def __init__(self, *, model: Model, threshold: float, low: Numbers, high: Numbers) -> None:
        self.model, self.threshold, self.low, self.high = model, threshold, low, high
        self._window = WindowFeatures()
        super().__init__()

    def reset(self) -> None:
        """Forget all events, not what was learned."""
        self._window.reset()

    def observe(self, event: Event) -> None:
        """Take an event."""
        self._window.observe(event)

    def score_at(self, time_s: float) -> float:
        """Return the model's score by its threshold."""
        features = self._window.at(time_s)
        return 0.0 if features is None else self.model.unusual(features) / self.threshold

    def reason_at(self, time_s: float) -> str | None:
        """Tell the feature that is furthest from its benign range."""
        features = self._window.at(time_s)
        if features is None or self.score_at(time_s) < 1:
            return None
        span = np.maximum(self.high - self.low, 1e-9)
        beyond = np.maximum(self.low - features, features - self.high) / span
        worst = int(np.argmax(beyond))
        name, unit = FEATURES[worst]
        unit = f" {unit}" if unit else ""
        told = (
            f"{name} in {WINDOW_S:g} s is {features[worst]:.3g}{unit}, in benign ones "
            f"{self.low[worst]:.3g} to {self.high[worst]:.3g}{unit}"
        )
        return told if beyond[worst] > 0 else f"an unusual combination; {told}"


class IsolationForest(Learned):
    """Unusual is what few random splits set apart."""

    name: ClassVar[str] = "isolation_forest"
    summary: ClassVar[str] = "challenger: scikit-learn's isolation forest on the last minute"


class HalfSpaceTrees(Learned):
    """Unusual is what lies where few benign minutes lie."""

    name: ClassVar[str] = "half_space_trees"
    summary: ClassVar[str] = "challenger: river's half-space trees on the last minute"


CHALLENGERS: Mapping[str, type[Learned]] = MappingProxyType(
    {challenger.name: challenger for challenger in (IsolationForest, HalfSpaceTrees)}
)
