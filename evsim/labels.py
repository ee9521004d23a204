"""The label of an anomaly: what it was, when it was active, when its effect could be seen."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

#: The columns of labels.csv.
LABEL_COLUMNS = (
    "anomaly",
    "layer",
    "target",
    "t_start",
    "t_end",
    "effect_start",
    "effect_end",
    "severity",
)
SEVERITIES = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Label:
    """One interval in which an anomaly was active; times are Unix s.

    :param target: the id of a charge point, or several joined by ";".
    :param effect_start_s: the first moment at which the effect could be seen; None if never. The
        effect may last longer than the anomaly.

    Raises ValueError for what labels.csv could not hold.
    """

    anomaly: str
    layer: str
    target: str
    t_start_s: float
    t_end_s: float
    effect_start_s: float | None
    effect_end_s: float | None
    severity: str

    def __post_init__(self) -> None:
        for name in ("anomaly", "layer", "target"):
            text = getattr(self, name)
            if not text or not text.isprintable():
                raise ValueError(f"{name} is to be a printable text, not {text!r}")
        if self.severity not in SEVERITIES:
            raise ValueError(
                f"severity is to be one of {', '.join(SEVERITIES)}, not {self.severity!r}"
            )
        _check_interval("t", self.t_start_s, self.t_end_s)
        if (self.effect_start_s is None) is not (self.effect_end_s is None):
            raise ValueError("effect_start and effect_end go together: both or neither")
        if self.effect_start_s is not None and self.effect_end_s is not None:
            _check_interval("effect", self.effect_start_s, self.effect_end_s)

    @property
    def targets(self) -> frozenset[str]:
        """The ids of the charge points that it is about."""
        return frozenset(self.target.split(";")) | {self.target}

    def to_row(self) -> dict[str, str]:
        """Give the cells of labels.csv by column."""
        return {
            "anomaly": self.anomaly,
            "layer": str(self.layer),
            "target": self.target,
            "t_start": _to_cell(self.t_start_s),
            "t_end": _to_cell(self.t_end_s),
            "effect_start": _to_cell(self.effect_start_s),
            "effect_end": _to_cell(self.effect_end_s),
            "severity": str(self.severity),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Label:
        """Read the cells of labels.csv; ValueError or KeyError for what is no label."""
        return cls(
            anomaly=row["anomaly"],
            layer=row["layer"],
            target=row["target"],
            t_start_s=float(row["t_start"]),
            t_end_s=float(row["t_end"]),
            effect_start_s=_optional(row["effect_start"]),
            effect_end_s=_optional(row["effect_end"]),
            severity=row["severity"],
        )

    def to_csv(self) -> str:
        """Give the line of labels.csv."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(self.to_row().values())
        return text.getvalue()


def _check_interval(name: str, start_s: float, end_s: float) -> None:
    if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s):
        raise ValueError(f"{name}_start and {name}_end are no interval: {start_s} to {end_s}")


def _to_cell(time_s: float | None) -> str:
    return "" if time_s is None else f"{time_s:.6f}"


def _optional(cell: str) -> float | None:
    return float(cell) if cell else None
