"""Recovery times after each fault, beside the promised ones."""

from collections import defaultdict
from dataclasses import dataclass

from tests.chaos.journal import Entry
from tests.chaos.judge.claims import Claim, read_claims, spans
from tests.chaos.judge.final_state import FinalState
from tests.chaos.load.clients import Responses
from tests.chaos.plan import Plan

SLACK_SECONDS = 5.0
# A worker with more claims may have no slot to hear a ring for, of its eight.
MOST_CLAIMS = 4
RING_HEARD = "redis back: a ring is heard"
AGAIN = "a lost worker's job runs again"
# Jobs that lost their worker are suspects: each worker runs one of them at a time, alone, after all
# that it held before. So one that came back with others waits for them, however long they are.
AGAIN_BEHIND = f"{AGAIN}, behind other suspects"
# Journal entries of a process that show that a store serves it again.
SIGNS = {
    "postgres": {
        "a job is accepted": "recorded",
        "a worker looks": "looked",
        "a dispatcher looks": "deliveries_looked",
    },
    "redis": {"a caller is woken": "signal_heard"},
    "s3": {"an image is stored": "stored"},
}


@dataclass(frozen=True, slots=True)
class Recovery:
    """The longest of `count` recoveries of one kind; `promised` None where nothing is."""

    kind: str
    count: int
    longest: float
    promised: float | None

    @property
    def kept(self) -> bool:
        return self.promised is None or self.longest <= self.promised


def recoveries(state: FinalState, plan: Plan, told: Responses) -> list[Recovery]:
    """Return the recoveries of every kind that occurred."""
    measured: dict[str, list[float]] = defaultdict(list)
    measured[AGAIN], measured[AGAIN_BEHIND] = _jobs_again(state, plan)
    for store in SIGNS:
        for part, seconds in _parts_again(state, store):
            measured[f"{store} back: {part}"].append(seconds)
    measured[RING_HEARD] = _rings_again(state)
    measured["postgres away: a caller gets its 503"] = _errors(state, told)
    promises = {
        AGAIN: plan.lease_seconds + SLACK_SECONDS,
        RING_HEARD: SLACK_SECONDS,
        "redis back: a caller is woken": SLACK_SECONDS,
    }
    return [
        Recovery(kind, len(seconds), max(seconds), promises.get(kind))
        for kind, seconds in measured.items()
        if seconds
    ]


def _jobs_again(state: FinalState, plan: Plan) -> tuple[list[float], list[float]]:
    """From the loss of a claim's worker to the job's next claim, where no store was away.

    Apart from the others: those that came back while another suspect was held.
    """
    losses = [entry for entry in state.entries if entry.event in {"killed", "frozen"}]
    away = [
        span for store in SIGNS for span in spans(state, "store_away", "store_back", "store", store)
    ]
    claims = read_claims(state)
    held: dict[int, list[Claim]] = defaultdict(list)
    for claim in claims:
        held[claim.pid].append(claim)
    suspects = _suspects(claims)
    free: list[float] = []
    behind: list[float] = []
    for loss in losses:
        for claim in held[loss.facts["victim"]]:
            again = claim.until
            if claim.let_go or again is None or not claim.at <= loss.at < again:
                continue
            if any(begin < again and loss.at < end + SLACK_SECONDS for begin, end in away):
                continue
            back = loss.at + plan.lease_seconds
            waited_for = (each for each in suspects if each.job != claim.job and each.at < again)
            is_behind = any(each.until is None or each.until > back for each in waited_for)
            (behind if is_behind else free).append(again - loss.at)
    return free, behind


def _suspects(claims: list[Claim]) -> list[Claim]:
    """Give the claims of jobs whose last attempt was lost."""
    lost = {(claim.job, claim.attempt + 1) for claim in claims if not claim.let_go}
    return [claim for claim in claims if (claim.job, claim.attempt) in lost]


def _parts_again(state: FinalState, store: str) -> list[tuple[str, float]]:
    """From the store's return to the first sign of each part, in each process that lived on."""
    began = {e.facts["child"]: e.at for e in state.entries if e.event == "started"}
    found = []
    for away, back in spans(state, "store_away", "store_back", "store", store):
        for part, sign in SIGNS[store].items():
            first: dict[int, float] = {}
            for entry in state.entries:
                if entry.event == sign and entry.at >= back and began[entry.pid] < away:
                    first.setdefault(entry.pid, entry.at - back)
            found += [(part, seconds) for seconds in first.values()]
    return found


def _rings_again(state: FinalState) -> list[float]:
    """From the return of Redis to the first ring that each worker with free slots heard.

    A worker listens only while it has a free slot, and while uploads do not wait for the object
    store. So the time counts for workers that held few claims until they heard a ring, if gateways
    rang, and if no other fault happened in that time. A worker that heard none is late.
    """
    claims = read_claims(state)
    measured = []
    for back in (e.at for e in state.entries if _is(e, "store_back", "redis")):
        until = back + SLACK_SECONDS
        if _is_disturbed(state, back, until):
            continue
        for pid in _workers_alive(state, back):
            heard = [
                entry.at - back
                for entry in state.entries
                if entry.event == "ring_heard" and entry.pid == pid and entry.at >= back
            ]
            seconds = min(heard, default=float("inf"))
            end = min(until, back + seconds)
            held = sum(
                claim.pid == pid and claim.at < end and (claim.until or end) >= back
                for claim in claims
            )
            if held <= MOST_CLAIMS:
                measured.append(seconds)
    return measured


def _is(entry: Entry, event: str, store: str) -> bool:
    return entry.event == event and entry.facts["store"] == store


def _is_disturbed(state: FinalState, begin: float, end: float) -> bool:
    """Return whether another fault happened meanwhile, or too few jobs were accepted to ring."""
    faults = {"killed", "frozen", "asked_to_leave", "store_away"}
    recorded = sum(e.event == "recorded" and begin < e.at < end for e in state.entries)
    return recorded < MOST_CLAIMS or any(
        entry.event in faults and begin - SLACK_SECONDS < entry.at < end
        for entry in state.entries
        if not _is(entry, "store_away", "redis")
    )


def _workers_alive(state: FinalState, at: float) -> set[int]:
    """Return the ids of the worker processes that had looked for jobs before."""
    return {entry.pid for entry in state.entries if entry.event == "looked" and entry.at < at} - {
        entry.facts["child"] for entry in state.entries if entry.event == "ended" and entry.at < at
    }


def _errors(state: FinalState, told: Responses) -> list[float]:
    away = spans(state, "store_away", "store_back", "store", "postgres")
    return [
        error.seconds
        for error in told.server_errors
        if any(begin <= error.at <= end for begin, end in away)
    ]
