"""The limit of file descriptors: each delivery under way holds one for its connection."""

import resource
from typing import Final

import structlog

# Descriptors for everything else: Postgres, Redis, the object store, the event loop, logs.
OTHERS: Final = 200

log = structlog.get_logger(__name__)


def raise_descriptor_limit(wanted: int) -> int:
    """Raise the process's limit to its maximum; return how many attempts it allows at a time.

    Log a warning if they are fewer than wanted: `ulimit -n` or the container's limit is too low.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attempts = wanted if most == resource.RLIM_INFINITY else max(min(wanted, most - OTHERS), 1)
    if attempts < wanted:
        log.warning("too_few_file_descriptors", limit=most, attempts=attempts, wanted=wanted)
    return attempts
