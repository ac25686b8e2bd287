"""Validation of the retention settings."""

from typing import Any

import pytest

from common.domain.errors import ConfigurationError
from common.settings import RetentionSettings

FOR_EVER: dict[str, Any] = {
    f"{kind}_seconds": 0 for kind in ("object", "job", "delivery", "attempt", "orphan")
}


def test_the_defaults_are_consistent() -> None:
    kept = RetentionSettings()
    assert kept.orphan_seconds < kept.object_seconds < kept.job_seconds
    assert kept.attempt_seconds < kept.delivery_seconds < kept.job_seconds


def test_everything_may_be_kept_forever() -> None:
    assert RetentionSettings(**FOR_EVER).job_seconds == 0
    assert RetentionSettings(job_seconds=0).object_seconds > 0


@pytest.mark.parametrize("objects", [0, 7201])
def test_images_may_not_outlive_their_job(objects: float) -> None:
    with pytest.raises(ConfigurationError, match="INFILL_RETENTION_OBJECT_SECONDS"):
        RetentionSettings(object_seconds=objects, job_seconds=7200)


def test_an_orphan_age_of_less_than_the_minimum_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"INFILL_RETENTION_ORPHAN_SECONDS.*an hour"):
        RetentionSettings(orphan_seconds=3599)
    assert RetentionSettings(orphan_seconds=3600).orphan_seconds == 3600
