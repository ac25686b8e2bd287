"""Whether response times reveal to a tenant what other tenants own.

One tenant sends ids and keys of another tenant, and ones that never existed, in random order, one
request after the other. Those that never existed are sent twice: the difference between these two
series is the noise, below which nothing is revealed.
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
from deploy.cli.operators.run import current_operator
from deploy.local.servers.ports import LOOPBACK
from tests.bench.figures import Figure
from tests.bench.measure.request_rate import succeeded_job
from tests.bench.rig.stack import Rig
from tests.bench.sizes import Sizes

MILLISECONDS = 1000
# Ids of no job, between those of jobs and with as many digits.
GAP = range(1_100_000, 1_900_000)

Send = Callable[[str], Awaitable[httpx2.Response]]


@dataclass(frozen=True, slots=True)
class Asker:
    """The tenant that sends the requests."""

    client: httpx2.AsyncClient
    rig: Rig
    key: str

    async def fetch(self, job_id: str) -> httpx2.Response:
        return await self.client.post(f"/api/v3/fetch/{job_id}", json={"key": self.key})

    async def submit(self, idempotency_key: str, key: str | None = None) -> httpx2.Response:
        headers = {"idempotency-key": idempotency_key}
        body = self.rig.request(key=key or self.key)
        return await self.client.post("/api/v3/inpaint", json=body, headers=headers)


@dataclass(frozen=True, slots=True)
class Series:
    """Requests to time: `theirs` name what another owns, `nobodys` makes what never existed."""

    send: Send
    theirs: Sequence[object]
    nobodys: Callable[[], str]
    times: int
    warm_up: int


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Time requests with everything a tenant can name: job ids and Idempotency-Keys."""
    times = sizes.isolation
    gateway = await rig.start_gateway()
    await create_tenant(rig.database, current_operator(), "asker")
    pepper = rig.settings.gateway.require_pepper()
    issued = await issue_key(rig.database, current_operator(), "asker", "bench", pepper=pepper)
    url = f"http://{LOOPBACK}:{gateway}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        asker = Asker(client, rig, issued.key)
        taken = [str(uuid4()) for _ in range(times.submissions + times.warm_up)]
        waiting = await _jobs_around_the_gap(asker, taken)
        ended = await succeeded_job(rig)
        waiting.remove(ended)
        return [
            await _compare(
                "fetch of another's ended job",
                Series(asker.fetch, [ended], _id, times.fetches, times.warm_up),
            ),
            await _compare(
                "fetch of another's waiting job",
                Series(asker.fetch, waiting, _id, times.fetches, times.warm_up),
            ),
            await _compare(
                "another's Idempotency-Key",
                Series(asker.submit, taken, _key, times.submissions, times.warm_up),
            ),
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
        jobs.append((await asker.submit(key, asker.rig.api_key)).json()["id"])
    return jobs


def _id() -> str:
    return str(random.choice(GAP))


def _key() -> str:
    return str(uuid4())


async def _compare(name: str, series: Series) -> Figure:
    kinds: dict[str, list[float]] = {"theirs": [], "nobodys": [], "nobodys too": []}
    for number in range(series.warm_up + series.times):
        for kind in random.sample(list(kinds), len(kinds)):
            is_theirs = kind == "theirs"
            sent = series.theirs[number % len(series.theirs)] if is_theirs else series.nobodys()
            begun = monotonic()
            response = await series.send(str(sent))
            spent = (monotonic() - begun) * MILLISECONDS
            assert response.json()["status"] in {"failed", "processing"}, response.text
            if number >= series.warm_up:
                kinds[kind].append(spent)
    of_theirs, of_nobodys, again = (median(spent) for spent in kinds.values())
    return Figure(
        name=f"{name}, beside one that never existed",
        value=of_theirs,
        unit="ms",
        baseline=of_nobodys,
        target=1.05,
        at_least=False,
        note=f"medians of {series.times} each, alternating; a second series of ones that never "
        f"existed: {again:.3f} ms, a ratio of {again / of_nobodys:.3f}; "
        f"of the other tenant's {of_theirs / of_nobodys:.3f}",
    )
