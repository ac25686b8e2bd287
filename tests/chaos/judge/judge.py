"""What must be true when all has settled, whatever was done meanwhile; each breach a sentence."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.judge.claims import lost_to_poison, read_claims, unexplained
from tests.chaos.judge.final_state import FINAL, Books, Row, named_by
from tests.chaos.judge.ledger import differences
from tests.chaos.load.clients import Told
from tests.chaos.load.orders import Order
from tests.chaos.load.receiver import Call

# Of those asked to leave: in order, by the signal, or as a shell would say that.
# How Postgres ends that may not start.
POSTGRES_REFUSES = 1
LEFT = {0, -15, 128 + 15}
EVENTS = {"succeeded": "job.succeeded", "failed": "job.failed", "canceled": "job.canceled"}
STATUSES = {"succeeded": "success", "failed": "failed", "canceled": "failed"}
# What a job may have failed of, all attempts used up; anything else is a fault of ours.
EXCUSED = {"worker_lost", "storage_unavailable"}


def judge(
    books: Books, orders: Sequence[Order], told: Told, calls: Sequence[Call], unverified: int
) -> list[str]:
    """Give every breach; none, if the promises were kept."""
    by_token = {order.token: order for order in orders}
    return [
        *_acceptance(books, by_token, told),
        *_endings(books, by_token),
        *_results(books),
        *differences(books.accounts),
        *_objects(books),
        *_webhooks(books, calls),
        *_commits(books),
        *unexplained(books),
        *_poison(books, by_token),
        *_ends_of_processes(books),
        *([f"{unverified} webhooks had a signature that does not verify"] if unverified else []),
    ]


def _acceptance(books: Books, orders: dict[str, Order], told: Told) -> Iterator[str]:
    """One order, one job, whatever was repeated."""
    yield from (f"odd answer: {answer}" for answer in told.odd)
    for token in orders:
        ids = told.ids.get(token, set())
        if len(ids) != 1:
            yield f"{token}: the caller was told of jobs {sorted(ids)}, not of one"
        elif not ids <= books.jobs.keys():
            yield f"{token}: accepted as job {min(ids)}, which is not in the books"
    per_token = Counter(job["token"] for job in books.jobs.values())
    yield from (f"{token}: {count} jobs" for token, count in per_token.items() if count > 1)
    yield from (f"job of nobody's order: {token}" for token in per_token.keys() - orders.keys())
    for refusal in told.refusals:
        if not refusal.retry_after:
            yield f"an answer {refusal.status} without Retry-After"


def _endings(books: Books, orders: dict[str, Order]) -> Iterator[str]:
    for job in books.jobs.values():
        if job["state"] not in FINAL:
            yield f"job {job['id']} has not ended: {job['state']}"
        if job["state"] != "failed" or orders[job["token"]].poison:
            continue
        if job["error_code"] not in EXCUSED or job["attempt"] < job["max_attempts"]:
            yield f"job {job['id']} failed of {job['error_code']} in attempt {job['attempt']}"


def _results(books: Books) -> Iterator[str]:
    for job in books.jobs.values():
        if (job["state"] == "succeeded") != bool(job["result"]):
            yield f"job {job['id']} is {job['state']}, with result: {bool(job['result'])}"


def _objects(books: Books) -> Iterator[str]:
    for job in books.jobs.values():
        missing = named_by(job) - books.objects
        if missing:
            yield f"job {job['id']} names objects that are not there: {sorted(missing)}"
    orphans = books.objects - books.named
    if orphans:
        yield f"{len(orphans)} objects belong to nobody and were not swept: {sorted(orphans)[:3]}"


def _webhooks(books: Books, calls: Sequence[Call]) -> Iterator[str]:
    deliveries: dict[int, list[Row]] = defaultdict(list)
    for delivery in books.deliveries:
        deliveries[delivery["job_id"]].append(delivery)
    received: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        received[call.job_id].append(call)
    for job in books.jobs.values():
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


def _commits(books: Books) -> Iterator[str]:
    """No job ran two generations to completion that both committed."""
    commits = Counter(e.facts["job"] for e in books.entries if e.event == "committed")
    yield from (
        f"job {job}: committed {count} times" for job, count in commits.items() if count > 1
    )
    for job in books.jobs.values():
        for key in job["result"].get("object_keys", []):
            attempt = int(key.rsplit("-", 2)[1])
            if attempt != job["attempt"]:
                yield (
                    f"job {job['id']}: the result is of attempt {attempt}, "
                    f"but the claim belonged to attempt {job['attempt']}"
                )


def _poison(books: Books, orders: dict[str, Order]) -> Iterator[str]:
    for job in books.jobs.values():
        if not orders[job["token"]].poison:
            continue
        if job["state"] != "failed" or job["error_code"] != "worker_lost":
            yield f"poison job {job['id']} is {job['state']} ({job['error_code']})"
        kills = sum(
            entry.facts.get("token") == job["token"]
            for entry in books.entries
            if entry.event == "killed"
        )
        if kills > job["max_attempts"]:
            yield f"poison job {job['id']} killed {kills} workers"
    for (poison, job_id), times in lost_to_poison(books, read_claims(books)).items():
        if times > 1:
            yield f"{poison} took {times} attempts of job {job_id} with it"


def _ends_of_processes(books: Books) -> Iterator[str]:
    """Nobody ends but by our hand, and who is asked to leave leaves in order."""
    killed = {e.facts["victim"] for e in books.entries if e.event == "killed"}
    asked = {e.facts["victim"] for e in books.entries if e.event == "asked_to_leave"}
    for entry in books.entries:
        if entry.event != "ended" or entry.facts["child"] in killed:
            continue
        child, code = entry.facts["child"], entry.facts["code"]
        # Not while a child of the one that was killed holds its memory: it is started until it may.
        if entry.facts["name"] == "postgres" and code == POSTGRES_REFUSES:
            continue
        if child not in asked or code not in LEFT:
            yield f"{entry.facts['name']} (process {child}) ended by itself with {code}"
