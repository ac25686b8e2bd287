"""How long the system took to be itself again after each fault, beside what is promised."""

from collections import defaultdict
from dataclasses import dataclass

from tests.chaos.books import Books
from tests.chaos.claims import Claim, read_claims, spans
from tests.chaos.clients import Told
from tests.chaos.plan import Plan

SLACK_SECONDS = 5.0
STORES = ("postgres", "redis", "s3")


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


def recoveries(books: Books, plan: Plan, told: Told) -> list[Recovery]:
    """Give every kind that occurred."""
    measured: dict[str, list[float]] = defaultdict(list)
    measured["a lost worker's job runs again"] = _jobs_again(books)
    for store in STORES:
        for part, seconds in _parts_again(books, store):
            measured[f"{store} back: {part}"].append(seconds)
    measured["postgres away: a caller gets its 503"] = _refusals(books, told)
    promises = {
        "a lost worker's job runs again": plan.lease_seconds + SLACK_SECONDS,
        "redis back: rings are heard": SLACK_SECONDS,
        "redis back: callers are woken": SLACK_SECONDS,
    }
    return [
        Recovery(kind, len(seconds), max(seconds), promises.get(kind))
        for kind, seconds in measured.items()
        if seconds
    ]


def _jobs_again(books: Books) -> list[float]:
    """From the loss of a claim's worker to the job's next claim, where no store was away."""
    losses = [entry for entry in books.entries if entry.event in {"killed", "frozen"}]
    away = [
        span
        for store in STORES
        for span in spans(books, "store_away", "store_back", "store", store)
    ]
    held: dict[int, list[Claim]] = defaultdict(list)
    for claim in read_claims(books):
        held[claim.pid].append(claim)
    seconds = []
    for loss in losses:
        for claim in held[loss.facts["victim"]]:
            again = claim.until
            if claim.let_go or again is None or not claim.at <= loss.at < again:
                continue
            if any(begin < again and loss.at < end + SLACK_SECONDS for begin, end in away):
                continue
            seconds.append(again - loss.at)
    return seconds


def _parts_again(books: Books, store: str) -> list[tuple[str, float]]:
    """From the store's return to the first sign of each part."""
    found = []
    for _, back in spans(books, "store_away", "store_back", "store", store):
        later = sorted((e for e in books.entries if e.at >= back), key=lambda e: e.at)
        if store == "redis":
            signs = {"rings are heard": "ring_heard", "callers are woken": "signal_heard"}
            for part, event in signs.items():
                first = next((e.at for e in later if e.event == event), None)
                if first is not None:
                    found.append((part, first - back))
            continue
        parts = {"s3": {"s3"}, "postgres": {"gateway", "worker", "dispatcher"}}[store]
        seen: dict[tuple[str, int], float] = {}
        for entry in later:
            if entry.event == "recovered" and entry.facts["part"] in parts:
                seen.setdefault((entry.facts["part"], entry.pid), entry.at - back)
            if entry.event == "fault_begins":
                break
        found += [(part, seconds) for (part, _), seconds in seen.items()]
    return found


def _refusals(books: Books, told: Told) -> list[float]:
    away = spans(books, "store_away", "store_back", "store", "postgres")
    return [
        refusal.seconds
        for refusal in told.refusals
        if any(begin <= refusal.at <= end for begin, end in away)
    ]
