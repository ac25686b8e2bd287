"""Longer fuzzing of image decoding: `python -m tests.unit.worker.engine.fuzz [SECONDS] [FIRST]`.

SECONDS is 300 by default; FIRST is the number of the first batch of examples.
"""

import sys
from collections import Counter
from itertools import count

from common.runtime.clock import monotonic
from tests.unit.worker.engine.image_sandbox.test_pool import peak_megabytes
from tests.unit.worker.engine.images.test_decode_fuzz import fuzz, watched_decoders
from tests.unit.worker.engine.mutations import KINDS

EXAMPLES = 500


def main(seconds: float = 300, first: float = 1_000) -> None:
    """Try new examples until the time is over; stop at the first failure."""
    ends_at = monotonic() + seconds
    tried: Counter[tuple[str, bool]] = Counter()
    with watched_decoders() as decoders:
        for number in count(int(first)):
            for kind in KINDS:
                for taken, times in fuzz(decoders, kind, number=number, examples=EXAMPLES).items():
                    tried[kind, taken] += times
            if monotonic() > ends_at:
                break
        (pid,) = decoders.pids
        peak = peak_megabytes(pid)
    lines = [f"{tried.total():,} examples, the decoder's memory at most {peak:.0f} MB"]
    lines += [
        f"{kind}: {tried[kind, True]:,} accepted, {tried[kind, False]:,} rejected" for kind in KINDS
    ]
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(*(float(word) for word in sys.argv[1:]))
