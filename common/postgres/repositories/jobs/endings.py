"""Result of the statements that end jobs, in whichever way."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from common.postgres.models import Delivery, Job


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has just ended; `delivery_id` is None where no webhook was asked for."""

    job_id: int
    file_prefix: UUID
    delivery_id: UUID | None


# What each of those statements returns; in this order they are the fields of `Ended`.
ENDED_COLUMNS: Final[tuple[Any, ...]] = (Job.id, Job.file_prefix, Delivery.id)
