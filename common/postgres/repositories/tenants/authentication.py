"""Looking an API key up: whose it is, what they may use, and a note that it was used."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Double, LargeBinary, bindparam, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import column

from common.postgres.statements import Executor

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
    asked = {"of_digest": digest, "noted_after_seconds": NOTED_AFTER_SECONDS}
    row = (await connection.execute(_LOOK_UP, asked)).first()
    return None if row is None else KeyOwner(*row)


# A function of the database's: a gateway can ask for a key it was shown, and read no other.
_LOOK_UP: Final = select(
    *func.infill_authenticate(
        bindparam("of_digest", type_=LargeBinary()),
        bindparam("noted_after_seconds", type_=Double()),
    )
    .table_valued(
        column("tenant_id", BigInteger()),
        column("plan_limits", JSONB()),
        column("tenant_limits", JSONB()),
        column("seconds_left", Double()),
    )
    .c
)
