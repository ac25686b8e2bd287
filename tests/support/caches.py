"""Artificial ageing of cache entries, so that tests need not wait or replace the clock."""

from dataclasses import replace
from typing import Any

from common.runtime.single_flight import SingleFlightCache


def age_cache(cache: SingleFlightCache[Any, Any], seconds: float) -> None:
    """Make every value in the cache look as if it had been read `seconds` earlier."""
    for entries in (cache._values, cache._negatives):
        for key, cached in entries.items():
            entries[key] = replace(cached, read_at=cached.read_at - seconds)
