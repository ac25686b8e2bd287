"""Figures that were measured, and whether they reach their targets."""

import json
from dataclasses import asdict, dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement beside its baseline (where there is one) and its target.

    `value` is in `unit`; `ratio` is value / baseline. `target` is on the ratio where there is a
    baseline, otherwise on the value; `at_least` tells whether higher values are better.
    """

    name: str
    value: float
    unit: str
    target: float
    at_least: bool
    baseline: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.baseline is None else self.value / self.baseline

    @property
    def reached(self) -> bool:
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.target if self.at_least else judged <= self.target


def percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def table(figures: list[Figure]) -> str:
    rows = [("figure", "measured", "baseline", "ratio", "target", "")]
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        unit = "× baseline" if figure.baseline is not None else figure.unit
        rows.append(
            (
                figure.name,
                f"{figure.value:.2f} {figure.unit}",
                "" if figure.baseline is None else f"{figure.baseline:.2f}",
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
                f"{sign} {figure.target:.4g} {unit}",
                "reached" if figure.reached else "MISSED",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *notes])


def as_json(figures: list[Figure]) -> str:
    rows = [asdict(f) | {"ratio": f.ratio, "reached": f.reached} for f in figures]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
