"""What a run does: its load, its duration and its faults in order, all from one seed."""

import random
from dataclasses import dataclass
from typing import Final

CRASHES: Final = (
    "worker.claimed",
    "worker.fetching",
    "worker.generating",
    "worker.uploading",
    "worker.uploaded",
    "worker.committed",
    "dispatcher.before",
    "dispatcher.after",
    "gateway.before_commit",
    "gateway.after_commit",
)
OTHER_FAULTS: Final = (
    "dispatcher.during",
    "worker.frozen",
    "worker.cut_off",
    "redis.restart",
    "redis.away",
    "postgres.restart",
    "postgres.away",
    "s3.away",
    "s3.busy",
    "s3.outage",
    "redis.read_only",
    "rolling.restart",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run; `away_seconds` is how long a store stays unavailable.

    `outage_seconds` is how long the object store stays unavailable in its long outage.
    """

    seed: int
    jobs: int
    seconds: float
    faults: tuple[str, ...]
    poison: int
    long: int
    lease_seconds: float
    max_attempts: int
    away_seconds: float
    outage_seconds: float
    gap_seconds: float
    strict: bool = False  # whether a recovery that takes longer than promised is a violation
    tenants: int = 5
    gateways: int = 2
    workers: int = 3
    dispatchers: int = 2
    long_leases: float = 1.5
    swept_seconds: float = 30.0  # for the sweeper, to reconcile counters and to empty the bucket

    @property
    def long_seconds(self) -> float:
        """The duration of a long job: more than a lease, so that it needs the heartbeat."""
        return self.lease_seconds * self.long_leases


def full(seed: int) -> Plan:
    """Return the plan of about ten minutes."""
    often = 3
    faults = [*CRASHES * often, *("dispatcher.during", "worker.frozen") * often, *OTHER_FAULTS[2:]]
    faults += ["worker.cut_off", "redis.restart", "postgres.restart", "worker.uploaded"]
    return Plan(
        seed=seed,
        jobs=3_200,
        seconds=400.0,
        faults=_shuffled(seed, faults),
        poison=2,
        long=8,
        lease_seconds=10.0,
        max_attempts=6,
        away_seconds=15.0,
        outage_seconds=60.0,
        gap_seconds=4.5,
        strict=True,
    )


def short(seed: int) -> Plan:
    """Return the plan of about a minute: each kind of fault once."""
    return Plan(
        seed=seed,
        jobs=250,
        seconds=40.0,
        faults=_shuffled(seed, [*CRASHES, *OTHER_FAULTS]),
        poison=1,
        long=2,
        lease_seconds=3.0,
        max_attempts=4,
        away_seconds=2.0,
        outage_seconds=5.0,
        gap_seconds=0.1,
    )


def only(seed: int, *faults: str) -> Plan:
    """Return a plan of a few seconds with these faults, for detecting a removed protection.

    All its jobs are long: they need the heartbeat, and a successor is still generating when a
    frozen worker resumes. Two workers are enough, so the installation is small.
    """
    return Plan(
        seed=seed,
        jobs=4,
        seconds=1.0,
        faults=faults,
        poison=0,
        long=4,
        lease_seconds=3.0,
        max_attempts=2,
        away_seconds=2.0,
        outage_seconds=15.0,  # longer than a long job, which ends meanwhile
        gap_seconds=0.0,
        gateways=1,
        workers=2,
        dispatchers=1,
        # Must outlast a sweep and the grace period after the start of Postgres.
        long_leases=3.0,
        swept_seconds=5.0,  # without a protection it never does
    )


def _shuffled(seed: int, faults: list[str]) -> tuple[str, ...]:
    chance = random.Random(seed)
    chance.shuffle(faults)
    return tuple(faults)
