"""Room for connections: each attempt under way holds one of the process's file descriptors."""

import resource
from typing import Final

import structlog

# Of everything else: Postgres, Redis, the store, the event loop, logs.
OTHERS: Final = 200

log = structlog.get_logger(__name__)


def raise_descriptor_limit(attempts: int) -> int:
    """Raise the process's limit as far as it may be; give how many attempts there is room for.

    With fewer than wanted, `ulimit -n` or the container's limit wants raising: that is logged.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    room = attempts if most == resource.RLIM_INFINITY else max(min(attempts, most - OTHERS), 1)
    if room < attempts:
        log.warning("too_few_file_descriptors", limit=most, attempts=room, wanted=attempts)
    return room
