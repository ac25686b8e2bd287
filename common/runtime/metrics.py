"""Prometheus metrics common to all processes, served under /metrics.

Each label has only a few values, none of which comes from tenants' data.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# Seconds; from a request within a rack to an hour in a full queue.
_WIDE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
# Seconds; an HTTP exchange is cut off after 15.
_EXCHANGE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

JOBS: Final = Gauge(
    "infill_jobs",
    "Unfinished jobs by queue and state, up to 100,000 of each state; reported by the sweeping "
    "leader only.",
    ["queue", "state"],
)
# Not `infill_jobs_total`: a counter and a gauge may not share the name before the suffix.
JOBS_ENDED: Final = Counter("infill_jobs_ended", "Jobs that ended, by final state.", ["outcome"])
QUEUE_WAIT_SECONDS: Final = Histogram(
    "infill_queue_wait_seconds", "Time from a job's acceptance to its first claim.", buckets=_WIDE
)
STAGE_SECONDS: Final = Histogram(
    "infill_stage_seconds", "Time a job spends in one stage of its work.", ["stage"], buckets=_WIDE
)
GPU_BUSY_RATIO: Final = Gauge(
    "infill_gpu_busy_ratio",
    "Part of the time with work in which the device was computing, over the last minute; unchanged "
    "while there is no work.",
)
BATCH_SIZE: Final = Histogram(
    "infill_batch_size",
    "Samples processed together in one step of the engine.",
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
)
STEPS: Final = Counter("infill_steps", "Steps of the engine, of any batch size.")
SAMPLES_ACTIVE: Final = Gauge(
    "infill_samples_active", "Samples being generated, one per requested image."
)
MODELS_LOADED: Final = Gauge(
    "infill_models_loaded", "Models in this worker's memory, whose jobs can start at once."
)
DECODERS_LOST: Final = Counter(
    "infill_decoders_lost",
    "Decoder processes that a worker had to replace, by reason: crashed, hung, over the CPU time "
    "limit, or died while idle.",
    ["reason"],
)
IMAGES_WAITING: Final = Gauge(
    "infill_images_waiting",
    "Generated images that wait for an unavailable object store, in memory or in a file.",
    ["place"],
)
IMAGE_BYTES_WAITING: Final = Gauge(
    "infill_image_bytes_waiting",
    "Bytes of the generated images that wait for an unavailable object store.",
    ["place"],
)
DELIVERIES: Final = Counter(
    "infill_deliveries",
    "Webhook delivery attempts by outcome: delivered, retry, exhausted, discarded, or lost if "
    "another dispatcher had claimed the delivery.",
    ["outcome"],
)
DELIVERY_SECONDS: Final = Histogram(
    "infill_delivery_seconds", "Duration of one webhook delivery attempt.", buckets=_EXCHANGE
)
DELIVERIES_SENDING: Final = Gauge(
    "infill_deliveries_sending", "Webhook delivery attempts under way in this dispatcher."
)
BREAKERS_OPENED: Final = Counter(
    "infill_webhook_breakers_opened",
    "Circuit breakers that opened because an origin kept failing.",
)
BREAKERS_OPEN: Final = Gauge(
    "infill_webhook_breakers_open",
    "Tenant origins whose circuit breaker is open or half-open, up to 100,000; reported by the "
    "sweeping leader only.",
)
RETENTION_DELETED: Final = Counter(
    "infill_retention_deleted",
    "Deletions because of age: images (counted by job), jobs, deliveries, delivery attempts, and "
    "orphans (objects that no job names).",
    ["kind"],
)
