"""The table at the end of a run."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.judge.final_state import FinalState
from tests.chaos.judge.recovery import Recovery
from tests.chaos.load.clients import Responses
from tests.chaos.load.receiver import Receiver
from tests.chaos.plan import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run: lines of the table, and violations."""

    lines: list[tuple[str, str]]
    violations: list[str]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.lines)
        rows = [f"{name.ljust(width)}  {value}" for name, value in self.lines]
        verdict = [f"VIOLATION: {told}" for told in self.violations] or ["no violation"]
        return "\n".join([*rows, "", *verdict])


def outcome(
    plan: Plan,
    seconds: float,
    state: FinalState,
    told: Responses,
    receiver: Receiver,
    recovered: Sequence[Recovery],
    violations: list[str],
) -> Outcome:
    """Return the outcome with its table."""
    lines = [("seed", str(plan.seed)), ("took", f"{seconds:.0f} s")]
    lines += _faults(state)
    lines += _jobs(state, told)
    lines += _webhooks(state, receiver)
    for recovery in recovered:
        promised = "" if recovery.promised is None else f", promised {recovery.promised:.0f} s"
        value = f"longest of {recovery.count}: {recovery.longest:.2f} s{promised}"
        lines.append((recovery.kind, value))
    if plan.strict:
        late = [f"{r.kind}: {r.longest:.2f} s" for r in recovered if not r.kept]
        violations = [*violations, *(f"slower than promised: {told}" for told in late)]
    return Outcome(lines, violations)


def _faults(state: FinalState) -> list[tuple[str, str]]:
    kinds = Counter(e.facts["kind"] for e in state.entries if e.event == "fault_ends")
    kinds["worker killed by a poison job"] = sum(
        e.event == "killed" and e.facts["place"] == "poison" for e in state.entries
    )
    return [(f"fault: {kind}", str(count)) for kind, count in sorted(kinds.items()) if count]


def _jobs(state: FinalState, told: Responses) -> list[tuple[str, str]]:
    states = Counter(job["state"] for job in state.jobs.values())
    generated = Counter(e.facts["token"] for e in state.entries if e.event == "generated")
    attempts = Counter(job["attempt"] for job in state.jobs.values())
    given_back = sum(
        e.event == "let_go" and e.facts["how"] == "release_claim" for e in state.entries
    )
    return [
        ("jobs accepted", str(len(state.jobs))),
        ("jobs by final state", _counts(states)),
        ("jobs by attempts", _counts(attempts)),
        ("claims released at shutdown", str(given_back)),
        ("generated more than once", str(sum(count - 1 for count in generated.values()))),
        ("requests answered with 5xx", str(len(told.server_errors))),
        ("requests without an answer", str(told.broken)),
    ]


def _webhooks(state: FinalState, receiver: Receiver) -> list[tuple[str, str]]:
    taken: dict[str, int] = defaultdict(int)
    for call in receiver.calls:
        taken[call.webhook_id] += call.taken
    states = Counter(delivery["state"] for delivery in state.deliveries)
    return [
        ("webhooks by final state", _counts(states)),
        ("calls the receiver spoiled", str(receiver.misbehaved)),
        ("delivered more than once", str(sum(count - 1 for count in taken.values() if count > 1))),
    ]


def _counts(counted: Counter[object]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counted.items(), key=str))
