"""Find the tenant of an API key and the tenant's limits, and record the use of the key."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Double, LargeBinary, bindparam, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import column

from common.postgres.statements import Executor

# A use is recorded if the last recorded one is older: the row of a busy key is written once a
# minute.
RECORD_USE_AFTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """The tenant that owns a live API key, with the stored limits of its plan and its own.

    `seconds_left` is the time until the key's expiry by the database's clock, or None if the key
    does not expire.
    """

    tenant_id: int
    plan_limits: dict[str, Any]
    tenant_limits: dict[str, Any]
    seconds_left: float | None


async def find_key_owner(connection: Executor, digest: bytes) -> KeyOwner | None:
    """Return the owner of the live API key with this digest, or None if there is none.

    The key's use is recorded.
    """
    values = {"of_digest": digest, "record_use_after_seconds": RECORD_USE_AFTER_SECONDS}
    row = (await connection.execute(_FIND_KEY_OWNER, values)).first()
    return None if row is None else KeyOwner(*row)


# An SQL function: the gateway can look up a key that it was sent, and cannot read any other.
_FIND_KEY_OWNER: Final = select(
    *func.infill_authenticate(
        bindparam("of_digest", type_=LargeBinary()),
        bindparam("record_use_after_seconds", type_=Double()),
    )
    .table_valued(
        column("tenant_id", BigInteger()),
        column("plan_limits", JSONB()),
        column("tenant_limits", JSONB()),
        column("seconds_left", Double()),
    )
    .c
)
