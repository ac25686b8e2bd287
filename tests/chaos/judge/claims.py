"""Every claim of the run, and whether its loss is explained by something that was done."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.journal import Entry
from tests.chaos.judge.final_state import Books

# A heartbeat that met an outage tries again, and the sweeper waits, for about this long.
AFTERMATH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim; `until` is when it was let go or the job was claimed again, None if never."""

    job: int
    attempt: int
    pid: int
    at: float
    until: float | None
    let_go: bool
    last: bool  # no later attempt is in the books


def read_claims(books: Books) -> list[Claim]:
    """Give the claims the journal knows, in the order they were made."""
    noted = [entry for entry in books.entries if entry.event == "claimed"]
    ends = _ends(books)
    following = _following(noted)
    claims = []
    for entry in noted:
        key = (entry.facts["job"], entry.facts["attempt"])
        ended = ends.get(key)
        claims.append(
            Claim(
                *key,
                pid=entry.pid,
                at=entry.at,
                until=ended if ended is not None else following.get(key),
                let_go=ended is not None,
                last=key[1] == books.jobs[key[0]]["attempt"],
            )
        )
    return claims


def unexplained(books: Books) -> Iterator[str]:
    """Find claims lost by workers that lived and could reach Postgres; a restart loses none."""
    killed = {entry.facts["victim"] for entry in books.entries if entry.event == "killed"}
    outages = spans(books, "store_away", "store_back", "store", "postgres")
    frozen = spans_by_victim(books)
    for claim in read_claims(books):
        if claim.let_go or claim.pid in killed or _ended_well(books, claim):
            continue
        until = claim.until if claim.until is not None else float("inf")
        spoiled = [*outages, *frozen.get(claim.pid, [])]
        if not any(b <= until and claim.at <= e + AFTERMATH_SECONDS for b, e in spoiled):
            yield f"job {claim.job} lost attempt {claim.attempt}, though its worker lived"


def _ended_well(books: Books, claim: Claim) -> bool:
    """Whether the row's end is this claim's work."""
    return claim.last and books.jobs[claim.job]["error_code"] != "worker_lost"


def lost_to_poison(books: Books, claims: list[Claim]) -> Counter[tuple[str, int]]:
    """Count, per poison and other job, the attempts that died with it."""
    deaths = {
        entry.facts["victim"]: entry
        for entry in books.entries
        if entry.event == "killed" and entry.facts["place"] == "poison"
    }
    lost: Counter[tuple[str, int]] = Counter()
    for claim in claims:
        death = deaths.get(claim.pid)
        if death is None or claim.let_go or (claim.until or death.at) < death.at:
            continue
        if _ended_well(books, claim):
            continue
        token = death.facts["token"]
        if books.jobs[claim.job]["token"] != token:
            lost[token, claim.job] += 1
    return lost


def spans(
    books: Books, begin: str, end: str, fact: str, value: object
) -> list[tuple[float, float]]:
    """Pair the beginnings and ends of what was done to one thing."""
    begins = [e.at for e in books.entries if e.event == begin and e.facts[fact] == value]
    ends = [e.at for e in books.entries if e.event == end and e.facts[fact] == value]
    ends += [float("inf")] * (len(begins) - len(ends))
    return list(zip(begins, ends, strict=True))


def spans_by_victim(books: Books) -> dict[int, list[tuple[float, float]]]:
    """Give when each process was frozen or cut off."""
    victims = {entry.facts["victim"] for entry in books.entries if entry.event == "frozen"}
    return {pid: spans(books, "frozen", "thawed", "victim", pid) for pid in victims}


def _ends(books: Books) -> dict[tuple[int, int], float]:
    """Give when claims were let go of by their own worker: given back, retried, failed, done."""
    ends = {
        (entry.facts["job"], entry.facts["attempt"]): entry.at
        for entry in books.entries
        if entry.event == "let_go"
    }
    committed = {e.facts["job"]: e.at for e in books.entries if e.event == "committed"}
    for job, at in committed.items():
        ends.setdefault((job, books.jobs[job]["attempt"]), at)
    return ends


def _following(noted: list[Entry]) -> dict[tuple[int, int], float]:
    """Give when each job was claimed next."""
    per_job: dict[int, list[Entry]] = defaultdict(list)
    for entry in noted:
        per_job[entry.facts["job"]].append(entry)
    return {
        (job, before.facts["attempt"]): after.at
        for job, entries in per_job.items()
        for before, after in pairwise(entries)
    }
