"""Looking an API key up: whose it is, what they may use, and a note that it was used."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import LargeBinary, ScalarSelect, Update, bindparam, func, or_, select, update

from common.direct import Executor
from common.models import ApiKey, Plan, Tenant
from common.repositories.columns import from_now

# How exactly `last_used_at` is known: a busy key writes its row once a minute.
NOTED_AFTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Whom a live key belongs to, with the limits stored for their plan and for them.

    `seconds_left` is the key's remaining life by the database's clock, None for one without end.
    """

    tenant_id: int
    plan_limits: dict[str, Any]
    tenant_limits: dict[str, Any]
    seconds_left: float | None


async def look_up_key(connection: Executor, digest: bytes) -> KeyOwner | None:
    """Give the owner of a live key and note its use; None for any other digest."""
    row = (await connection.execute(_LOOK_UP, {"of_digest": digest})).first()
    return None if row is None else KeyOwner(*row)


def _noting(key_id: ScalarSelect[int]) -> Update:
    """Note the use of a key, unless that was done just now.

    A row somebody holds is passed over: nobody is kept waiting for the sake of a note.
    """
    long_ago = ApiKey.last_used_at < from_now(-NOTED_AFTER_SECONDS)
    due = (
        select(ApiKey.id)
        .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), long_ago))
        .with_for_update(skip_locked=True, key_share=True)
    )
    return update(ApiKey).where(ApiKey.id == due.scalar_subquery()).values(last_used_at=func.now())


# The digest decides alone: it has a unique index, so one row of each table is read.
_FOUND: Final = (
    select(
        ApiKey.id,
        ApiKey.tenant_id,
        Plan.limits.label("plan_limits"),
        Tenant.limits.label("tenant_limits"),
        func.date_part("epoch", ApiKey.expires_at - func.now()).label("seconds_left"),
    )
    .join(Tenant, Tenant.id == ApiKey.tenant_id)
    .join(Plan, Plan.id == Tenant.plan_id)
    .where(
        ApiKey.digest == bindparam("of_digest", type_=LargeBinary()),
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        Tenant.disabled_at.is_(None),
    )
    .cte("found")
)
_LOOK_UP: Final = select(
    _FOUND.c.tenant_id, _FOUND.c.plan_limits, _FOUND.c.tenant_limits, _FOUND.c.seconds_left
).add_cte(_noting(select(_FOUND.c.id).scalar_subquery()).cte("noted"))
