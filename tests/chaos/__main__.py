"""`make chaos`: inject every fault under load, and check that nothing was lost.

`python -m tests.chaos [--short] [--seed N] [--break fence|outbox|heartbeat|upload] [--keep FOLDER]`
"""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import structlog

from tests.chaos.plan import Plan, full, only, short
from tests.chaos.run import run

# The faults that reveal a removed protection.
FAULTS_OF_BREAK = {
    "fence": ("worker.frozen",),
    "outbox": ("worker.untold",),
    "heartbeat": (),
    "upload": ("s3.outage",),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="each kind of fault once")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--break", dest="broken", choices=FAULTS_OF_BREAK, default="")
    parser.add_argument("--keep", type=Path, help="keep logs and journal in this folder")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    plan = _plan(asked.seed, asked.broken, short_form=asked.short)
    say(f"seed {plan.seed}: {plan.jobs} orders, {len(plan.faults)} faults")
    if asked.keep:
        asked.keep.mkdir(parents=True)
    kept = nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory(prefix="infill-")
    with kept as home:
        outcome = asyncio.run(run(plan, Path(home).resolve(), say, asked.broken))
    say(f"\n{outcome}")
    sys.exit(bool(outcome.violations))


def _plan(seed: int, broken: str, *, short_form: bool) -> Plan:
    if broken:
        return only(seed, *FAULTS_OF_BREAK[broken])
    return short(seed) if short_form else full(seed)


def say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - this is its answer


if __name__ == "__main__":
    main()
