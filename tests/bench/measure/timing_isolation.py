"""Whether the time an answer takes tells a tenant what others have.

One tenant asks with what is another's and with what never was, in turn and in no order, one
request after the other. What never was is asked for twice: how far those two are apart is the
measure of what can be told at all.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

import httpx2

from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant
from common.runtime.clock import monotonic
from deploy.cli.operators.running import operator
from deploy.local.servers.ports import LOOPBACK
from tests.bench.figures import Figure
from tests.bench.measure.request_rate import succeeded_job
from tests.bench.rig.stack import Rig

FETCHES = 4_000
DRAWINGS = 1_000
WARM_UP = 200
MILLISECONDS = 1000
# Ids that no job has, between those of jobs: as many digits as theirs have, and amid them.
GAP = range(1_100_000, 1_900_000)

Send = Callable[[str], Awaitable[httpx2.Response]]


@dataclass(frozen=True, slots=True)
class Asker:
    """The tenant that asks."""

    client: httpx2.AsyncClient
    rig: Rig
    key: str

    async def fetch(self, job_id: str) -> httpx2.Response:
        return await self.client.post(f"/api/v3/fetch/{job_id}", json={"key": self.key})

    async def draw(self, idempotency_key: str, key: str | None = None) -> httpx2.Response:
        headers = {"idempotency-key": idempotency_key}
        body = self.rig.request(key=key or self.key)
        return await self.client.post("/api/v3/inpaint", json=body, headers=headers)


async def measure_isolation(rig: Rig, gateway: int) -> list[Figure]:
    """Time everything a tenant can name: ids of jobs, and Idempotency-Keys."""
    await create_tenant(rig.database, operator(), "asker")
    pepper = rig.settings.gateway.required_pepper()
    issued = await issue_key(rig.database, operator(), "asker", "bench", pepper=pepper)
    url = f"http://{LOOPBACK}:{gateway}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        asker = Asker(client, rig, issued.key)
        taken = [str(uuid4()) for _ in range(DRAWINGS + WARM_UP)]
        waiting = await _jobs_around_the_gap(asker, taken)
        ended = await succeeded_job(rig)
        waiting.remove(ended)
        return [
            await _compare("fetch of another's ended job", asker.fetch, [ended], _id, FETCHES),
            await _compare("fetch of another's waiting job", asker.fetch, waiting, _id, FETCHES),
            await _compare("another's Idempotency-Key", asker.draw, taken, _key, DRAWINGS),
        ]


async def _jobs_around_the_gap(asker: Asker, keys: Sequence[str]) -> list[int]:
    jobs = []
    for number, key in enumerate(keys):
        if number in {0, len(keys) // 2}:
            last = GAP.stop if number else GAP.start - len(keys)
            async with asker.rig.database.statement() as connection:
                await connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('jobs', 'id'), {last})"
                )
        jobs.append((await asker.draw(key, asker.rig.api_key)).json()["id"])
    return jobs


def _id() -> str:
    return str(random.choice(GAP))


def _key() -> str:
    return str(uuid4())


async def _compare(
    name: str, send: Send, theirs: Sequence[object], nobodys: Callable[[], str], times: int
) -> Figure:
    kinds: dict[str, list[float]] = {"theirs": [], "nobodys": [], "nobodys too": []}
    for number in range(WARM_UP + times):
        for kind in random.sample(list(kinds), len(kinds)):
            name_sent = str(theirs[number % len(theirs)]) if kind == "theirs" else nobodys()
            begun = monotonic()
            answer = await send(name_sent)
            spent = (monotonic() - begun) * MILLISECONDS
            assert answer.json()["status"] in {"failed", "processing"}, answer.text
            if number >= WARM_UP:
                kinds[kind].append(spent)
    of_theirs, of_nobodys, again = (median(spent) for spent in kinds.values())
    return Figure(
        name=f"{name}, beside what never was",
        value=of_theirs,
        unit="ms",
        baseline=of_nobodys,
        target=1.05,
        at_least=False,
        note=f"medians of {times} each, in turn; what never was asked for once more: "
        f"{again:.3f} ms, a ratio of {again / of_nobodys:.3f}; "
        f"of the other's {of_theirs / of_nobodys:.3f}",
    )
