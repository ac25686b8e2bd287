"""Requests that the clients send."""

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import count
from typing import Any

from PIL import Image

from tests.chaos.plan import Plan

SIZE = 64
INPAINT, TEXT2IMG = "inpaint", "text2img"


@dataclass(frozen=True, slots=True)
class Order:
    """One request; `token` names it everywhere: prompt, idempotency key and `track_id`."""

    token: str
    tenant: int
    path: str
    seconds: float
    poison: bool = False
    webhook: bool = True
    samples: int = 1
    image_in_body: bool = False

    def body(self, key: str, images_url: str, hook: str) -> dict[str, Any]:
        """Return the request body of the API."""
        body: dict[str, Any] = {
            "key": key,
            "prompt": f"{self.token} {'poison' if self.poison else self.seconds}",
            "enhance_prompt": "no",
            "width": SIZE,
            "height": SIZE,
            "samples": self.samples,
            "num_inference_steps": 21,
            "track_id": self.token,
        }
        if self.webhook:
            body["webhook"] = hook
        if self.path == INPAINT:
            init = IMAGE if self.image_in_body else f"{images_url}/bench_small.png"
            body |= {"init_image": init, "mask_image": f"{images_url}/bench_small_mask.png"}
        return body


def random_orders(plan: Plan) -> Iterator[Order]:
    """Yield random orders without end: most are short, some long, a few kill their worker.

    The special ones are among the first of the plan's orders, but for the very first.
    """
    chance = random.Random(plan.seed)
    special = plan.poison + plan.long
    first = plan.jobs // 10
    places = chance.sample(range(first, first + max(special, plan.jobs // 3)), special)
    for number in count():
        order = _draw(chance, number, plan.tenants)
        if number in places[: plan.poison]:
            order = replace(order, path=TEXT2IMG, poison=True)
        elif number in places:
            order = replace(order, path=TEXT2IMG, seconds=plan.long_seconds)
        yield order


def _draw(chance: random.Random, number: int, tenants: int) -> Order:
    return Order(
        token=f"order-{number:05}",
        tenant=chance.randrange(tenants),
        path=chance.choice((INPAINT, INPAINT, TEXT2IMG)),
        seconds=round(chance.uniform(0.04, 0.4), 2),
        webhook=chance.random() < 0.9,
        samples=chance.choice((1, 1, 1, 2)),
        image_in_body=chance.random() < 0.1,
    )


def _image() -> str:
    buffer = BytesIO()
    Image.new("RGB", (SIZE, SIZE), "teal").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


IMAGE = _image()
