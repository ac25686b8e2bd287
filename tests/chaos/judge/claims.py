"""Every claim of the run, and whether an injected fault explains its loss."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.journal import Entry
from tests.chaos.judge.final_state import FinalState

# After an outage the heartbeat retries, and the sweeper waits, for about this long.
AFTERMATH_SECONDS = 5.0
# A worker that is asked to leave may wait for the object store so long after its return.
STORE_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim; `until` is when it was let go or the job was claimed again, None if never."""

    job: int
    attempt: int
    pid: int
    at: float
    until: float | None
    let_go: bool
    last: bool  # no later attempt is in the rows


def read_claims(state: FinalState) -> list[Claim]:
    """Return the claims in the journal, in order."""
    noted = [entry for entry in state.entries if entry.event == "claimed"]
    ends = _ends(state)
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
                last=key[1] == state.jobs[key[0]]["attempt"],
            )
        )
    return claims


def unexplained(state: FinalState) -> Iterator[str]:
    """Find claims lost by workers that lived and could reach Postgres; a restart loses none."""
    killed = {entry.facts["victim"] for entry in state.entries if entry.event == "killed"}
    outages = spans(state, "store_away", "store_back", "store", "postgres")
    frozen = spans_by_victim(state)
    for claim in read_claims(state):
        if claim.let_go or claim.pid in killed or _ended_well(state, claim):
            continue
        until = claim.until if claim.until is not None else float("inf")
        spoiled = [*outages, *frozen.get(claim.pid, [])]
        if not any(b <= until and claim.at <= e + AFTERMATH_SECONDS for b, e in spoiled):
            yield f"job {claim.job} lost attempt {claim.attempt}, though its worker lived"


def repeated(state: FinalState) -> Iterator[str]:
    """Find finished generations that were repeated although no fault had cost their worker.

    A worker that was asked to leave while it waited for the object store releases its jobs.
    """
    killed = {entry.facts["victim"] for entry in state.entries if entry.event == "killed"}
    leaving = {entry.facts["victim"] for entry in state.entries if entry.event == "asked_to_leave"}
    cut_off = spans(state, "store_away", "store_back", "store", "postgres")
    stores = [
        (begin, end + STORE_RETRY_SECONDS)
        for begin, end in spans(state, "store_away", "store_back", "store", "s3")
    ]
    frozen = spans_by_victim(state)
    per_token: dict[str, list[Entry]] = defaultdict(list)
    for entry in state.entries:
        if entry.event == "generated":
            per_token[entry.facts["token"]].append(entry)
    for token, entries in per_token.items():
        for before, after in pairwise(entries):
            excuses = [*cut_off, *frozen.get(before.pid, []), *frozen.get(after.pid, [])]
            excuses += stores if before.pid in leaving else []
            if before.pid not in killed and not any(
                begin <= after.at and before.at <= end + AFTERMATH_SECONDS for begin, end in excuses
            ):
                yield f"{token}: generated again, though the worker of its images lived"


def _ended_well(state: FinalState, claim: Claim) -> bool:
    """Whether this claim wrote the outcome of the job."""
    return claim.last and state.jobs[claim.job]["error_code"] != "worker_lost"


def lost_to_poison(state: FinalState, claims: list[Claim]) -> Counter[tuple[str, int]]:
    """Count, per poison and other job, the attempts that died with it."""
    deaths = {
        entry.facts["victim"]: entry
        for entry in state.entries
        if entry.event == "killed" and entry.facts["place"] == "poison"
    }
    lost: Counter[tuple[str, int]] = Counter()
    for claim in claims:
        death = deaths.get(claim.pid)
        if death is None or claim.let_go or (claim.until or death.at) < death.at:
            continue
        if _ended_well(state, claim):
            continue
        token = death.facts["token"]
        if state.jobs[claim.job]["token"] != token:
            lost[token, claim.job] += 1
    return lost


def spans(
    state: FinalState, begin: str, end: str, fact: str, value: object
) -> list[tuple[float, float]]:
    """Return begin and end of each such event that happened to one thing."""
    begins = [e.at for e in state.entries if e.event == begin and e.facts[fact] == value]
    ends = [e.at for e in state.entries if e.event == end and e.facts[fact] == value]
    ends += [float("inf")] * (len(begins) - len(ends))
    return list(zip(begins, ends, strict=True))


def spans_by_victim(state: FinalState) -> dict[int, list[tuple[float, float]]]:
    """Return when each process was frozen or cut off."""
    victims = {entry.facts["victim"] for entry in state.entries if entry.event == "frozen"}
    return {pid: spans(state, "frozen", "thawed", "victim", pid) for pid in victims}


def _ends(state: FinalState) -> dict[tuple[int, int], float]:
    """Return when workers ended their claims: released, retried, failed or succeeded."""
    ends = {
        (entry.facts["job"], entry.facts["attempt"]): entry.at
        for entry in state.entries
        if entry.event == "let_go"
    }
    committed = {e.facts["job"]: e.at for e in state.entries if e.event == "committed"}
    for job, at in committed.items():
        ends.setdefault((job, state.jobs[job]["attempt"]), at)
    return ends


def _following(noted: list[Entry]) -> dict[tuple[int, int], float]:
    """Return when each job was claimed next."""
    per_job: dict[int, list[Entry]] = defaultdict(list)
    for entry in noted:
        per_job[entry.facts["job"]].append(entry)
    return {
        (job, before.facts["attempt"]): after.at
        for job, entries in per_job.items()
        for before, after in pairwise(entries)
    }
