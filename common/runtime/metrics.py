"""The numbers every process shows under /metrics.

Labels take a handful of values each, all of them ours: a tenant's words never become a label.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# Seconds; from a lookup in the same rack to a queue that has been full for an hour.
_WIDE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
# Seconds; one exchange over the network is cut off after 15.
_EXCHANGE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

JOBS: Final = Gauge(
    "infill_jobs",
    "Unfinished jobs by state, up to 100,000 of each; only the process that sweeps shows it.",
    ["state"],
)
# Not `infill_jobs_total`: a counter and a gauge may not share the name before the suffix.
JOBS_ENDED: Final = Counter("infill_jobs_ended", "Jobs that ended, by final state.", ["outcome"])
QUEUE_WAIT_SECONDS: Final = Histogram(
    "infill_queue_wait_seconds", "From a job's acceptance to its claim.", buckets=_WIDE
)
STAGE_SECONDS: Final = Histogram(
    "infill_stage_seconds", "Time a job spends in one stage of its work.", ["stage"], buckets=_WIDE
)
GPU_BUSY_RATIO: Final = Gauge(
    "infill_gpu_busy_ratio",
    "Part of the time with work waiting or under way in which the device was computing, over the "
    "last minute; stays as it was while there is no work.",
)
BATCH_SIZE: Final = Histogram(
    "infill_batch_size",
    "Samples that one step of the engine moved on together.",
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
)
STEPS: Final = Counter("infill_steps", "Steps that the engine took, of whatever size.")
SAMPLES_ACTIVE: Final = Gauge(
    "infill_samples_active", "Samples that the engine has under way, one per image asked for."
)
MODELS_LOADED: Final = Gauge(
    "infill_models_loaded", "Models in the memory of this worker, whose jobs can start at once."
)
DECODERS_LOST: Final = Counter(
    "infill_decoders_lost",
    "Decoding processes that a worker had to replace, by why: crashed, hung, or over the limit of "
    "CPU time.",
    ["reason"],
)
DELIVERIES: Final = Counter(
    "infill_deliveries",
    "Attempts to deliver a webhook by what followed: delivered, retry, exhausted, discarded, "
    "or lost where another dispatcher had taken over.",
    ["outcome"],
)
DELIVERY_SECONDS: Final = Histogram(
    "infill_delivery_seconds", "Time of one attempt to deliver a webhook.", buckets=_EXCHANGE
)
DELIVERIES_SENDING: Final = Gauge(
    "infill_deliveries_sending", "Attempts to deliver a webhook that this dispatcher has under way."
)
BREAKERS_OPENED: Final = Counter(
    "infill_webhook_breakers_opened",
    "How often an origin that only failed was left in peace for a while.",
)
BREAKERS_OPEN: Final = Gauge(
    "infill_webhook_breakers_open",
    "Origins of tenants that are left in peace or being tried again, up to 100,000; only the "
    "process that sweeps shows it.",
)
RETENTION_DELETED: Final = Counter(
    "infill_retention_deleted",
    "What was deleted because of its age: jobs' pictures (counted by job), jobs, deliveries, "
    "attempts to deliver, and orphans (objects that no job names).",
    ["kind"],
)
