"""The limit of open files of this process, and how many connections it leaves room for."""

import resource
from typing import Final

# For Postgres, Redis, the object store, spooled bodies and DNS.
SPARE_DESCRIPTORS: Final = 256


def raise_descriptor_limit(needed: int) -> int:
    """Raise the soft limit of open files to `needed`, as far as the hard limit allows; return it.

    A higher soft limit stays as it is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= raised:
        return raised
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised


def connection_capacity(wanted: int) -> int:
    """Return how many connections to accept: `wanted`, or as many as the open files allow.

    Of the descriptors `SPARE_DESCRIPTORS` are kept for other uses, or half if there are few.
    """
    descriptors = raise_descriptor_limit(wanted + SPARE_DESCRIPTORS)
    return min(wanted, descriptors - min(SPARE_DESCRIPTORS, descriptors // 2))
