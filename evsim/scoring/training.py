"""Trains the learned detectors on a set: on benign runs of its training seeds, and no others.

The threshold is the highest score that a benign run of the validation seeds has. No run of a test
seed is read, and none with an anomaly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.detectors.base import Detector
from evsim.detectors.learned import CHALLENGERS, Forest, HalfSpace, HalfSpaceTrees, Model
from evsim.detectors.window_features import WindowFeatures
from evsim.errors import UserError
from evsim.lab.suite import purpose
from evsim.recording import read_events
from evsim.recording.reading import read_info
from evsim.scoring.running import STEP_S

Numbers = NDArray[np.float64]

#: A model learns from each tenth second: neighbouring minutes are nearly the same.
EACH = 10
#: The benign range that a reason tells leaves out so much on either side, %.
BEYOND_PERCENT = 0.1
TREES = 100
SAMPLES = 256
SEED = 1


def train(names: Sequence[str], runs: Sequence[Path]) -> dict[str, Callable[[], Detector]]:
    """Give a factory for each challenger.

    Raises UserError if the extra is not installed, or the set has no benign run to learn from.
    """
    trainers = {name: _trainer(name) for name in names}
    learnt_from = np.concatenate(list(_benign(runs, "train")))
    validated_on = np.concatenate(list(_benign(runs, "validation")))
    low, high = np.percentile(learnt_from, [BEYOND_PERCENT, 100 - BEYOND_PERCENT], axis=0)
    factories: dict[str, Callable[[], Detector]] = {}
    for name, fit in trainers.items():
        model = fit(learnt_from[::EACH])
        highest = max(model.unusual(features) for features in validated_on)
        # An alarm is on from the threshold: what a benign minute reaches is none.
        threshold = math.nextafter(highest, math.inf)
        factories[name] = functools.partial(
            CHALLENGERS[name], model=model, threshold=threshold, low=low, high=high
        )
    return factories


def _benign(runs: Sequence[Path], of: str) -> Iterator[Numbers]:
    """Give the features of each second of the benign runs, shape (seconds, features)."""
    found = False
    for run in runs:
        info = read_info(run)
        if info["anomaly"] is None and purpose(int(info["seed"])) == of:
            found = True
            yield features_of(run)
    if not found:
        raise UserError(
            f"the set has no benign run of the {of} seeds, which the challengers are made from; "
            "make it with --seeds 3"
        )


def features_of(run: Path) -> Numbers:
    """Give the features of each second of a run."""
    window, rows = WindowFeatures(), []
    next_s = -math.inf
    for event in read_events(run):
        if next_s == -math.inf:
            next_s = math.floor(event.time_s) + STEP_S
        while next_s <= event.time_s:
            features = window.at(next_s)
            if features is not None:
                rows.append(features)
            next_s += STEP_S
        window.observe(event)
    return np.array(rows)


def _trainer(name: str) -> Callable[[Numbers], Model]:
    try:
        if name == HalfSpaceTrees.name:
            from river.anomaly import HalfSpaceTrees as RiverTrees

            return functools.partial(_fit_half_space_trees, RiverTrees)
        from sklearn.ensemble import IsolationForest as SklearnForest
    except ImportError as error:
        raise UserError(
            f"{name} needs {error.name}, which is not installed: pip install -e '.[ml]'"
        ) from error
    return functools.partial(_fit_forest, SklearnForest)


def _fit_half_space_trees(river_trees: Any, features: Numbers) -> HalfSpace:
    low = features.min(axis=0)
    span = np.maximum(features.max(axis=0) - low, 1e-9)
    # Room on both sides, for what no benign minute had: clipped, it is in the outermost part.
    low, span = low - span / 4, span * 1.5
    # river scores with the masses of the last whole window: here of all there is.
    trees = river_trees(n_trees=25, height=8, window_size=len(features), seed=SEED)
    model = HalfSpace(trees, low, span)
    order = np.random.default_rng(SEED).permutation(len(features))
    for row in features[order]:
        trees.learn_one(model.scaled(row))
    return model


def _fit_forest(sklearn_forest: Any, features: Numbers) -> Forest:
    forest = sklearn_forest(
        n_estimators=TREES, max_samples=min(SAMPLES, len(features)), random_state=SEED
    )
    forest.fit(features)
    return as_arrays(forest)


def as_arrays(forest: Any) -> Forest:
    """Give a fitted isolation forest of scikit-learn as arrays."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    shape = (len(trees), max(tree.node_count for tree in trees))
    feature, threshold = np.zeros(shape, np.intp), np.zeros(shape)
    left, right = np.zeros(shape, np.intp), np.zeros(shape, np.intp)
    path_length = np.zeros(shape)
    for number, tree in enumerate(trees):
        count, nodes = tree.node_count, np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        feature[number, :count] = np.maximum(tree.feature, 0)
        threshold[number, :count] = tree.threshold
        left[number, :count] = np.where(is_leaf, nodes, tree.children_left)
        right[number, :count] = np.where(is_leaf, nodes, tree.children_right)
        depth = np.zeros(count)
        for node in nodes[~is_leaf]:  # a child's number is higher than its parent's
            depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
        path_length[number, :count] = depth + _search_length(tree.n_node_samples)
    return Forest(
        feature, threshold, left, right, path_length,
        depth=max(tree.max_depth for tree in trees),
        typical=float(_search_length(np.array([forest.max_samples_]))[0]),
    )  # fmt: skip


def _search_length(samples: NDArray[Any]) -> Numbers:
    """Give the mean path of an unsuccessful search in a search tree of so many (Liu et al.)."""
    count = np.maximum(samples.astype(np.float64), 2.0)
    length = 2 * (np.log(count - 1) + np.euler_gamma) - 2 * (count - 1) / count
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, length))
