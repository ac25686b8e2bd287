"""The diagrams in docs/lifecycle.md have exactly the transitions of the code."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import pytest

from common.domain import delivery, job

PAGE = Path(__file__).parents[4] / "docs" / "lifecycle.md"
BEGINNING_OR_END = "[*]"


def diagram_transitions(heading: str) -> list[tuple[str, str]]:
    """Read the arrows of the diagram below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    diagram = section.split("```mermaid\nstateDiagram-v2\n")[1].split("```")[0]
    arrows = [re.fullmatch(r"\s*(\S+) --> (\S+)", line) for line in diagram.splitlines()]
    assert all(arrows), diagram
    return [(arrow[1], arrow[2]) for arrow in arrows if arrow]


@pytest.mark.parametrize(
    ("heading", "transitions", "first"),
    [
        ("Job", job.TRANSITIONS, job.JobState.QUEUED),
        ("Delivery", delivery.TRANSITIONS, delivery.DeliveryState.PENDING),
    ],
)
def test_the_diagram_has_the_transitions_of_the_code(
    heading: str, transitions: Mapping[StrEnum, frozenset[StrEnum]], first: StrEnum
) -> None:
    moves = {(source, target) for source, targets in transitions.items() for target in targets}
    ends = {(state, BEGINNING_OR_END) for state, targets in transitions.items() if not targets}
    arrows = diagram_transitions(heading)
    assert len(arrows) == len(set(arrows))
    assert set(arrows) == moves | ends | {(BEGINNING_OR_END, first)}


@pytest.mark.parametrize(
    ("heading", "transitions"), [("Job", job.TRANSITIONS), ("Delivery", delivery.TRANSITIONS)]
)
def test_the_table_has_every_transition(
    heading: str, transitions: Mapping[StrEnum, frozenset[StrEnum]]
) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| (\w+) → (\w+) \|", section, flags=re.MULTILINE))
    assert listed == {(source, target) for source, row in transitions.items() for target in row}
