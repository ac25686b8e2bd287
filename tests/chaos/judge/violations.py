"""What must hold when all jobs have ended, whatever was injected; each violation is a sentence."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.judge.claims import lost_to_poison, read_claims, repeated, unexplained
from tests.chaos.judge.final_state import FINAL, FinalState, Row, named_by
from tests.chaos.judge.ledger import differences
from tests.chaos.load.clients import Responses
from tests.chaos.load.orders import Order
from tests.chaos.load.receiver import Call

# Exit code of a Postgres that may not start yet.
POSTGRES_REFUSES = 1
# Exit codes after SIGTERM: in order, by the signal, or by the signal under a shell.
LEFT = {0, -15, 128 + 15}
EVENTS = {"succeeded": "job.succeeded", "failed": "job.failed", "canceled": "job.canceled"}
STATUSES = {"succeeded": "success", "failed": "failed", "canceled": "failed"}
# Errors with which a job may fail when its attempts are used up; any other is a bug.
EXCUSED = {"worker_lost"}


def find_violations(
    state: FinalState,
    orders: Sequence[Order],
    told: Responses,
    calls: Sequence[Call],
    unverified: int,
) -> list[str]:
    """Return every violation."""
    by_token = {order.token: order for order in orders}
    return [
        *_acceptance(state, by_token, told),
        *_endings(state, by_token),
        *_results(state),
        *differences(state.accounts),
        *_objects(state),
        *_webhooks(state, calls),
        *_commits(state),
        *unexplained(state),
        *repeated(state),
        *_poison(state, by_token),
        *_ends_of_processes(state),
        *([f"{unverified} webhooks had a signature that does not verify"] if unverified else []),
    ]


def _acceptance(state: FinalState, orders: dict[str, Order], told: Responses) -> Iterator[str]:
    """One order, one job, whatever was repeated."""
    yield from (f"odd answer: {answer}" for answer in told.odd)
    for token in orders:
        ids = told.ids.get(token, set())
        if len(ids) != 1:
            yield f"{token}: the caller was told of jobs {sorted(ids)}, not of one"
        elif not ids <= state.jobs.keys():
            yield f"{token}: accepted as job {min(ids)}, which has no row"
    per_token = Counter(job["token"] for job in state.jobs.values())
    yield from (f"{token}: {count} jobs" for token, count in per_token.items() if count > 1)
    yield from (f"job of nobody's order: {token}" for token in per_token.keys() - orders.keys())
    for error in told.server_errors:
        if not error.retry_after:
            yield f"an answer {error.status} without Retry-After"


def _endings(state: FinalState, orders: dict[str, Order]) -> Iterator[str]:
    for job in state.jobs.values():
        if job["state"] not in FINAL:
            yield f"job {job['id']} has not ended: {job['state']}"
        if job["state"] != "failed" or orders[job["token"]].poison:
            continue
        if job["error_code"] not in EXCUSED or job["attempt"] < job["max_attempts"]:
            yield f"job {job['id']} failed of {job['error_code']} in attempt {job['attempt']}"


def _results(state: FinalState) -> Iterator[str]:
    for job in state.jobs.values():
        if (job["state"] == "succeeded") != bool(job["result"]):
            yield f"job {job['id']} is {job['state']}, with result: {bool(job['result'])}"


def _objects(state: FinalState) -> Iterator[str]:
    for job in state.jobs.values():
        missing = named_by(job) - state.objects
        if missing:
            yield f"job {job['id']} names objects that are not there: {sorted(missing)}"
    orphans = state.objects - state.named
    if orphans:
        yield f"{len(orphans)} objects belong to nobody and were not swept: {sorted(orphans)[:3]}"


def _webhooks(state: FinalState, calls: Sequence[Call]) -> Iterator[str]:
    deliveries: dict[int, list[Row]] = defaultdict(list)
    for delivery in state.deliveries:
        deliveries[delivery["job_id"]].append(delivery)
    received: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        received[call.job_id].append(call)
    for job in state.jobs.values():
        if job["told"]:
            yield from _webhook(job, deliveries[job["id"]], received[job["id"]])
        elif deliveries[job["id"]] or received[job["id"]]:
            yield f"job {job['id']} wanted no webhook and got one"


def _webhook(job: Row, deliveries: list[Row], calls: list[Call]) -> Iterator[str]:
    name = f"webhook of job {job['id']}"
    if len(deliveries) != 1:
        yield f"{name}: {len(deliveries)} deliveries"
        return
    (delivery,) = deliveries
    if delivery["state"] != "delivered" or not any(call.taken for call in calls):
        yield f"{name}: {delivery['state']}, taken {sum(call.taken for call in calls)} times"
    if {call.webhook_id for call in calls} - {delivery["id"]}:
        yield f"{name}: sent under several ids"
    if delivery["event"] != EVENTS[job["state"]]:
        yield f"{name}: tells {delivery['event']} of a job that is {job['state']}"
    if {(call.status, call.track_id) for call in calls} - {(STATUSES[job["state"]], job["token"])}:
        yield f"{name}: body of another outcome or order"


def _commits(state: FinalState) -> Iterator[str]:
    """No two generations of a job were both committed."""
    commits = Counter(e.facts["job"] for e in state.entries if e.event == "committed")
    yield from (
        f"job {job}: committed {count} times" for job, count in commits.items() if count > 1
    )
    for job in state.jobs.values():
        for key in job["result"].get("object_keys", []):
            attempt = int(key.rsplit("-", 2)[1])
            if attempt != job["attempt"]:
                yield (
                    f"job {job['id']}: the result is of attempt {attempt}, "
                    f"but the claim belonged to attempt {job['attempt']}"
                )


def _poison(state: FinalState, orders: dict[str, Order]) -> Iterator[str]:
    for job in state.jobs.values():
        if not orders[job["token"]].poison:
            continue
        if job["state"] != "failed" or job["error_code"] != "worker_lost":
            yield f"poison job {job['id']} is {job['state']} ({job['error_code']})"
        kills = sum(
            entry.facts.get("token") == job["token"]
            for entry in state.entries
            if entry.event == "killed"
        )
        if kills > job["max_attempts"]:
            yield f"poison job {job['id']} killed {kills} workers"
    for (poison, job_id), times in lost_to_poison(state, read_claims(state)).items():
        if times > 1:
            yield f"{poison} took {times} attempts of job {job_id} with it"


def _ends_of_processes(state: FinalState) -> Iterator[str]:
    """No process ends unasked, and one that is asked to stop exits in order."""
    killed = {e.facts["victim"] for e in state.entries if e.event == "killed"}
    asked = {e.facts["victim"] for e in state.entries if e.event == "asked_to_leave"}
    for entry in state.entries:
        if entry.event != "ended" or entry.facts["child"] in killed:
            continue
        child, code = entry.facts["child"], entry.facts["code"]
        # While a child of the killed one holds its memory, starting it fails and is repeated.
        if entry.facts["name"] == "postgres" and code == POSTGRES_REFUSES:
            continue
        if child not in asked or code not in LEFT:
            yield f"{entry.facts['name']} (process {child}) ended by itself with {code}"
