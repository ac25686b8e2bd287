"""The Celery application: a bell and its ringing threads, nothing more.

Results, retries and late acknowledgement stay off: the job's row owns outcome, attempts and
backoff. A message that is lost, or delivered twice, changes nothing.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import Celery
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer
from kombu import Connection

from common.messaging.doorbell import TASK_NAME
from common.runtime.availability import Availability
from common.settings import RedisSettings, Settings

# kombu asks Redis for the next ring with a wait this long; an answer takes so long at most.
_LISTENING_SECONDS: Final = 1.0
# Between two tries to reach Redis; left to itself, Celery would soon pause for half a minute.
_PAUSE_SECONDS: Final = 1
# The kernel finds out that the other end is gone without a word, as after a power cut: it asks
# after so many seconds of silence, so often.
_KEEPALIVE: Final = {
    socket.TCP_KEEPIDLE: 2,
    socket.TCP_KEEPINTVL: 1,
    socket.TCP_KEEPCNT: 3,
}


class Listener(Consumer):
    """Celery's consumer, which tries once a second to reach a Redis that is away."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._redis = Availability("redis")
        super().__init__(*args, **options)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Wait until Redis is there, or this process is told to stop."""
        connected = conn.ensure_connection(
            lambda error, _pause: self._redis.missed(error),
            interval_start=_PAUSE_SECONDS,
            interval_max=_PAUSE_SECONDS,
            callback=state.maybe_shutdown,
        )
        self._redis.found()
        return connected


def create_app(settings: Settings) -> Celery:
    """Give the application with everything off that a doorbell does not need."""
    app = Celery("infill", broker=settings.redis.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        # A ring that no thread here is free to hear is left to other workers.
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        # Unset, this warns: it is to become the default. It concerns late acknowledgement alone.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_enable_prefetch_count_reduction=False,
        broker_connection_retry_on_startup=True,
        worker_consumer=Listener,
        broker_transport_options=_transport(settings.redis),
        # Unset, Celery would bind every ring to an exchange of this name first.
        task_default_queue="infill",
    )
    return app


def create_listener(
    app: Celery, look: Callable[[str], object], *, name: str, queues: Sequence[str], threads: int
) -> WorkController:
    """Give what calls `look` with a queue's name, in one of `threads`, when that queue is rung.

    This is Celery's worker without the program around it: signals, logs and exit are ours.
    """

    @app.task(name=TASK_NAME)
    def heard(queue: str) -> None:
        look(queue)

    app.set_default()  # the pool's threads find the task through it
    return app.WorkController(
        pool="threads",
        concurrency=threads,
        queues=list(queues),
        hostname=name,
        # Workers need not know of each other: the rows are all they share.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )


def stop_listening() -> None:
    """Let the listener end when it next wakes, within a second; may be called from any thread."""
    state.should_stop = 0  # type: ignore[assignment] # declared None, an exit code when set


def _transport(redis: RedisSettings) -> dict[str, object]:
    return {
        # A ring that was heard is gone: no list of messages under way, no visibility timeout.
        "ack_emulation": False,
        # Ours have no priorities; else each queue is asked for under four names.
        "priority_steps": [0],
        "socket_connect_timeout": redis.timeout_seconds,
        "socket_timeout": _LISTENING_SECONDS + redis.timeout_seconds,
        "socket_keepalive": True,
        "socket_keepalive_options": _KEEPALIVE,
    }
