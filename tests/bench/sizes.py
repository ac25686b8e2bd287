"""How much each phase does: `FULL` to measure with, `TINY` to see that every phase still runs."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RequestSizes:
    """HTTP requests sent to the gateway, per round and side."""

    connections: int = 32
    requests: int = 4_000
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class LatencySizes:
    """Jobs sent one at a time, and how long the idle stack is watched."""

    jobs: int = 300
    warm_up: int = 30
    settle_seconds: float = 5.0
    watch_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class JobCpuSizes:
    """Jobs whose CPU time is counted; `stream` of them are under way at once in the second half."""

    jobs: int = 400
    warm_up: int = 40
    stream: int = 16
    bare_requests: int = 3_000


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """Images fetched, encoded and masked; `side` and `large_side` are pixels of a square."""

    side: int = 512
    large_side: int = 1024
    fetches: int = 100
    fetch_rounds: int = 5
    warm_up: int = 40
    encode_rounds: int = 15
    mask_rounds: int = 9
    blur_radii: tuple[int, ...] = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class TableSizes:
    """Rows of the two databases that are compared, and the claims made in each."""

    few: int = 10_000
    many: int = 2_000_000
    waiting: int = 20_000
    rounds: int = 7
    jobs: int = 250  # per claimer and round
    # One process's Python would be the slowest part: the claimers run in several.
    processes: int = 2
    claimers: int = 4  # per process


@dataclass(frozen=True, slots=True)
class SharingSizes:
    """Waiting jobs of many tenants, and how many of them are claimed."""

    jobs: int = 2_000_000
    tenants: int = 10_000
    claims: int = 3_000  # per claimer
    weighed_jobs: int = 10_000
    newcomers: int = 20
    jobs_between: int = 3_000  # claimed between one newcomer and the next
    processes: int = 2
    claimers: int = 4  # per process


@dataclass(frozen=True, slots=True)
class NeighbourSizes:
    """Jobs of one tenant, sent one at a time, beside a tenant whose images arrive or decode slowly.

    `side` is that of the slow images, in pixels of a square; they have `scans` scans.
    """

    jobs: int = 200
    warm_up: int = 20
    slow_jobs: int = 24
    side: int = 4_900
    scans: int = 99


@dataclass(frozen=True, slots=True)
class OutageSizes:
    """An outage of the object store in the middle of jobs, sent at an even rate.

    A job has `samples` images of `side` pixels, which are noise; `memory_bytes` of them may wait
    in memory. `more_megabytes` and `file_megabytes` are the targets for what the outage needs.
    """

    seconds: float = 300.0
    per_second: float = 1.0
    warm_up: int = 20
    generation_seconds: float = 2.0
    samples: int = 4
    side: int = 512
    memory_bytes: int = 8_000_000
    shutdown_seconds: float = 20.0
    more_megabytes: float = 100.0
    file_megabytes: float = 100.0


@dataclass(frozen=True, slots=True)
class DeliverySizes:
    """Webhooks of the delivery phases; `trickled` are sent one at a time beside the others."""

    tenants: int = 20
    origins: int = 40
    deliveries: int = 10_000
    hanging: int = 5_000
    hanging_tenants: int = 50
    hanging_origins: int = 500
    trickled: int = 400
    pending: int = 1_000_000
    pending_chunk: int = 100_000  # rows one statement writes
    claim_rounds: int = 1_000
    claim_warm_up: int = 20


@dataclass(frozen=True, slots=True)
class IsolationSizes:
    """Requests of one tenant that name what belongs to another."""

    fetches: int = 4_000
    submissions: int = 1_000
    warm_up: int = 200


@dataclass(frozen=True, slots=True)
class HostileSizes:
    """Hostile connections beside a healthy client; the deadlines are the gateway's defaults."""

    connections: int = 1_000
    seconds: float = 60.0
    body_bytes: int = 2_000_000
    per_second: float = 40.0  # of the healthy client
    baseline_seconds: float = 20.0
    watch_seconds: float = 2.0
    head_seconds: float = 10.0
    body_seconds: float = 15.0
    response_seconds: float = 30.0

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings of a gateway with these deadlines."""
        return {
            "INFILL_HTTP_HEAD_TIMEOUT_SECONDS": str(self.head_seconds),
            "INFILL_HTTP_BODY_TIMEOUT_SECONDS": str(self.body_seconds),
            "INFILL_HTTP_RESPONSE_TIMEOUT_SECONDS": str(self.response_seconds),
        }


@dataclass(frozen=True, slots=True)
class StepSizes:
    """One denoising step; `channels` are the widths of the UNet's blocks."""

    latent_side: int = 64  # images of 512 × 512 pixels
    channels: tuple[int, ...] = (96, 192, 384, 384)
    rounds: int = 3
    backend: str | None = None  # of torch.compile; None for the product's


@dataclass(frozen=True, slots=True)
class RaceSizes:
    """The engine against a plain pipeline; a race is run with each number of `clients`."""

    clients: tuple[int, ...] = (1, 2, 4, 8)
    # Of the ratios of so many rounds the median counts: others may use the machine meanwhile.
    rounds: int = 3
    requests: int = 16
    side: int | None = None  # pixels of an image; None for the architecture's own
    steps: tuple[int, int] | None = None  # fewest and most; None for the architecture's own


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of every phase."""

    requests: RequestSizes = field(default_factory=RequestSizes)
    latency: LatencySizes = field(default_factory=LatencySizes)
    job_cpu: JobCpuSizes = field(default_factory=JobCpuSizes)
    images: ImageSizes = field(default_factory=ImageSizes)
    tables: TableSizes = field(default_factory=TableSizes)
    sharing: SharingSizes = field(default_factory=SharingSizes)
    neighbours: NeighbourSizes = field(default_factory=NeighbourSizes)
    outage: OutageSizes = field(default_factory=OutageSizes)
    deliveries: DeliverySizes = field(default_factory=DeliverySizes)
    isolation: IsolationSizes = field(default_factory=IsolationSizes)
    hostile: HostileSizes = field(default_factory=HostileSizes)
    step: StepSizes = field(default_factory=StepSizes)
    race: RaceSizes = field(default_factory=RaceSizes)


FULL = Sizes()
# CPU time is counted in hundredths of a second: what is a divisor has to take several of them.
TINY = Sizes(
    requests=RequestSizes(connections=2, requests=200, rounds=1),
    latency=LatencySizes(jobs=3, warm_up=1, settle_seconds=0.0, watch_seconds=0.1),
    job_cpu=JobCpuSizes(jobs=4, warm_up=1, stream=2, bare_requests=200),
    images=ImageSizes(
        side=64,
        large_side=64,
        fetches=2,
        fetch_rounds=1,
        warm_up=1,
        encode_rounds=1,
        mask_rounds=1,
        blur_radii=(2,),
    ),
    tables=TableSizes(few=100, many=200, waiting=100, rounds=1, jobs=2, processes=1, claimers=2),
    sharing=SharingSizes(
        jobs=8_000,
        tenants=20,
        claims=100,
        weighed_jobs=40,
        newcomers=2,
        jobs_between=20,
        processes=1,
        claimers=2,
    ),
    neighbours=NeighbourSizes(jobs=3, warm_up=1, slow_jobs=2, side=64, scans=12),
    outage=OutageSizes(
        seconds=2.0,
        per_second=5.0,
        warm_up=1,
        generation_seconds=1.0,
        samples=1,
        side=64,
        memory_bytes=20_000,
        shutdown_seconds=0.1,
    ),
    deliveries=DeliverySizes(
        tenants=2,
        origins=4,
        deliveries=40,
        hanging=20,
        hanging_tenants=2,
        hanging_origins=6,
        trickled=4,
        pending=200,
        pending_chunk=100,
        claim_rounds=4,
        claim_warm_up=1,
    ),
    isolation=IsolationSizes(fetches=4, submissions=4, warm_up=1),
    hostile=HostileSizes(
        connections=60,
        seconds=3.0,
        body_bytes=20_000,
        per_second=20.0,
        baseline_seconds=0.5,
        watch_seconds=0.5,
        head_seconds=0.3,
        body_seconds=0.3,
        response_seconds=0.5,
    ),
    step=StepSizes(latent_side=8, channels=(32, 32, 32, 32), rounds=1, backend="eager"),
    race=RaceSizes(clients=(1, 2), rounds=1, requests=2, side=64, steps=(2, 2)),
)
