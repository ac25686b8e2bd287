"""Whether the usage ledger, its totals and the counters agree exactly with the jobs.

Read without the product's code, and added up a second time here.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
Ask = Callable[[str], Awaitable[Sequence[Row]]]

PIXELS_PER_MEGAPIXEL = 1_000_000
AMOUNTS = ("jobs", "images", "megapixel_steps", "gpu_milliseconds", "flagged_images")

JOBS = """
SELECT id, tenant_id, queue, state, request->>'model' AS model,
    jsonb_array_length(result->'object_keys') AS images,
    (result->>'engine_seconds')::float8 AS seconds,
    (SELECT count(*) FROM jsonb_array_elements(result->'nsfw') AS flag WHERE flag = 'true')
        AS flagged,
    (request->>'width')::bigint * (request->>'height')::bigint
        * (request->>'inference_steps')::bigint * (request->>'samples')::bigint AS pixel_steps
FROM jobs
"""
ENTRIES = """
SELECT job_id, tenant_id, model, (created_at AT TIME ZONE 'UTC')::date AS day, 1 AS jobs, images,
    megapixel_steps, gpu_milliseconds, flagged_images
FROM usage_entries
"""
TABLES = {
    "jobs": JOBS,
    "entries": ENTRIES,
    "marks": "SELECT job_id, tenant_id FROM unfolded_usage",
    "totals": "SELECT * FROM daily_usage",
    "queues": "SELECT tenant_id, queue, running FROM tenant_queues",
    "shares": "SELECT tenant_id, running FROM tenant_shares",
}


@dataclass(frozen=True, slots=True)
class LedgerRows:
    """The rows to compare."""

    jobs: Sequence[Row]
    entries: Sequence[Row]
    marks: Sequence[Row]
    totals: Sequence[Row]
    queues: Sequence[Row]
    shares: Sequence[Row]


async def read_ledger(ask: Ask) -> LedgerRows:
    return LedgerRows(**{name: await ask(query) for name, query in TABLES.items()})


def differences(accounts: LedgerRows) -> list[str]:
    """Return every difference as a sentence."""
    return [*_charges(accounts), *_sums(accounts), *_counters(accounts)]


def _charges(accounts: LedgerRows) -> Iterator[str]:
    """A job that succeeded is charged once and for what it was; no other is charged."""
    charged = Counter(entry["job_id"] for entry in accounts.entries)
    entries = {entry["job_id"]: entry for entry in accounts.entries}
    for job in accounts.jobs:
        succeeded, times = job["state"] == "succeeded", charged.pop(job["id"], 0)
        if times != succeeded:
            yield f"job {job['id']} is {job['state']} and was charged {times} times"
        elif succeeded:
            yield from _charge(job, entries[job["id"]])
    yield from (f"a charge for job {job_id}, which is unknown" for job_id in charged)


def _charge(job: Row, entry: Row) -> Iterator[str]:
    due = {
        "tenant_id": job["tenant_id"],
        "model": job["model"],
        "images": job["images"],
        "megapixel_steps": Decimal(job["pixel_steps"]) / PIXELS_PER_MEGAPIXEL,
        "gpu_milliseconds": round(job["seconds"] * 1000),
        "flagged_images": job["flagged"],
    }
    for name, amount in due.items():
        if entry[name] != amount:
            yield f"job {job['id']} was charged {name} {entry[name]}, not {amount}"


def _sums(accounts: LedgerRows) -> Iterator[str]:
    """Per tenant, model and day: the entries are the totals and what is not folded yet."""
    entries = {entry["job_id"]: entry for entry in accounts.entries}
    unfolded = []
    for mark in accounts.marks:
        entry = entries.get(mark["job_id"])
        if entry is None or entry["tenant_id"] != mark["tenant_id"]:
            yield f"a mark for job {mark['job_id']}, which has no such entry"
        else:
            unfolded.append(entry)
    ledger, read = _added_up(accounts.entries), _added_up([*accounts.totals, *unfolded])
    for key in ledger.keys() | read.keys():
        if ledger[key] != read[key]:
            yield f"usage of {key}: the ledger has {ledger[key]}, the totals {read[key]}"


def _added_up(rows: Iterable[Row]) -> dict[Hashable, list[Any]]:
    sums: dict[Hashable, list[Any]] = defaultdict(lambda: [0] * len(AMOUNTS))
    for row in rows:
        of = sums[row["tenant_id"], row["day"], row["model"]]
        of[:] = [amount + row[name] for amount, name in zip(of, AMOUNTS, strict=True)]
    return sums


def _counters(accounts: LedgerRows) -> Iterator[str]:
    running = [job for job in accounts.jobs if job["state"] == "running"]
    of_queue = Counter((job["tenant_id"], job["queue"]) for job in running)
    of_tenant = Counter(job["tenant_id"] for job in running)
    for row in accounts.queues:
        key = (row["tenant_id"], row["queue"])
        if row["running"] != of_queue.pop(key, 0):
            yield f"tenant_queues counts {row['running']} running jobs of {key}"
    for row in accounts.shares:
        if row["running"] != of_tenant.pop(row["tenant_id"], 0):
            yield f"tenant_shares counts {row['running']} running jobs of {row['tenant_id']}"
    yield from (f"running jobs of {key}, which are not counted" for key in [*of_queue, *of_tenant])
