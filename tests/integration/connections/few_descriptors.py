"""A server in a process with few descriptors, until its standard input ends.

Run as a program: `python -m tests.integration.connections.few_descriptors WANTED CAPACITY`. It
prints its port. It accepts CAPACITY connections, or as many as it thinks it can hold if that is 0.
"""

import resource
import sys

from api.connections.descriptors import connection_capacity
from tests.integration.connections.site import serving

DESCRIPTORS = 64

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS // 2, DESCRIPTORS))
    capacity = connection_capacity(int(sys.argv[1]))
    if forced := int(sys.argv[2]):
        capacity = forced
    with serving(connections=capacity, per_address=capacity) as site:
        print(site.port, flush=True)  # noqa: T201 - its output
        sys.stdin.read()
