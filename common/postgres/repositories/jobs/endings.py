"""Result of the statements that end jobs, in whichever way."""

from typing import Any, Final

from common.postgres.models import Delivery, Job

# What each of those statements returns; in this order they are the fields of `EndedJob`.
ENDED_COLUMNS: Final[tuple[Any, ...]] = (Job.id, Job.file_prefix, Delivery.id)
