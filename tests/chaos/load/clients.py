"""Callers that send each order until it is accepted, under one idempotency key."""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from common.runtime.clock import monotonic
from tests.chaos.installation.world import World
from tests.chaos.load.orders import Order

ANSWER_SECONDS = 40.0
AT_ONCE = 80
PAUSE_SECONDS = 0.3
REPEATED = 0.1  # of the orders are sent again although they were accepted
SERVER_TROUBLE = 500


@dataclass(frozen=True, slots=True)
class ServerError:
    """A 5xx response: its duration, and whether it had a Retry-After header."""

    status: int
    seconds: float
    retry_after: bool
    at: float


@dataclass(slots=True)
class Responses:
    """Responses to the callers; `ids` are all job ids returned for one order."""

    ids: dict[str, set[int]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    server_errors: list[ServerError] = field(default_factory=list)
    broken: int = 0  # no answer at all


class Clients:
    """Sends orders at a steady rate, from several tenants to several gateways."""

    def __init__(self, world: World) -> None:
        self._gateways = world.gateway_urls
        self._tenants = world.tenants
        self._images = world.images_url
        self._receiver = world.receiver
        self._per_second = world.plan.jobs / world.plan.seconds
        self._chance = random.Random(world.plan.seed)
        self._places = asyncio.Semaphore(AT_ONCE)
        self.told = Responses()
        self.sent: list[Order] = []
        self.accepted = 0

    async def keep_sending(self, orders: Iterator[Order], enough: Callable[[], bool]) -> None:
        """Send at an even pace until it is enough; ends when all that was sent is accepted."""
        begun = monotonic()
        async with (
            httpx2.AsyncClient(timeout=ANSWER_SECONDS) as http,
            asyncio.TaskGroup() as sending,
        ):
            while not enough():
                await asyncio.sleep(begun + len(self.sent) / self._per_second - monotonic())
                await self._places.acquire()
                self.sent.append(next(orders))
                sending.create_task(self._send_in_place(http, self.sent[-1]))

    async def _send(self, http: httpx2.AsyncClient, order: Order) -> None:
        """Send an order until it is accepted."""
        url_path = f"/api/v3/{order.path}"
        tenant = self._tenants[order.tenant]
        self._receiver.secrets[order.token] = tenant.secret
        body = order.body(tenant.key, self._images, self._receiver.url)
        headers = {"idempotency-key": order.token}
        while True:
            gateway = self._chance.choice(self._gateways)
            begun = monotonic()
            try:
                answer = await http.post(gateway + url_path, json=body, headers=headers)
            except httpx2.TransportError:
                self.told.broken += 1
            else:
                if answer.status_code < SERVER_TROUBLE:
                    self._note(order, answer.json())
                    return
                took = monotonic() - begun
                told = "retry-after" in answer.headers
                self.told.server_errors.append(ServerError(answer.status_code, took, told, begun))
            await asyncio.sleep(PAUSE_SECONDS * self._chance.uniform(0.5, 2))

    async def _send_in_place(self, http: httpx2.AsyncClient, order: Order) -> None:
        try:
            await self._send(http, order)
            if self._chance.random() < REPEATED:
                await self._send(http, order)
            self.accepted += 1
        finally:
            self._places.release()

    def _note(self, order: Order, answer: dict[str, Any]) -> None:
        job = answer.get("id")
        if answer.get("status") not in {"success", "processing", "failed"} or not job:
            self.told.odd.append(f"{order.token}: {answer}")
        else:
            self.told.ids.setdefault(order.token, set()).add(job)
