"""The Celery application: it delivers rings to a pool of threads and does nothing else.

A ring is a message that tells workers that a queue has jobs; the jobs are rows in Postgres.
Celery's results, retries and late acknowledgement are disabled, because outcome, attempts and
backoff are columns of the job's row. It does no harm if a ring is lost or delivered twice.
"""

import socket
from collections.abc import Callable, Sequence
from queue import Empty
from threading import Event
from typing import Any, Final

from celery import Celery, bootsteps
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer
from celery.worker.consumer.tasks import Tasks
from kombu import Connection
from kombu.transport.redis import Channel, Transport
from redis.exceptions import RedisError

from common.messaging.doorbell import TASK_NAME
from common.runtime.availability import Availability
from common.settings import RedisSettings, Settings

# kombu waits for the next ring with a blocking command of this length.
_POLL_SECONDS: Final = 1.0
# Between two tries to reach Redis; by default Celery would soon pause for half a minute.
_RETRY_SECONDS: Final = 1
# Set when the process is told to stop, which ends the pause.
_stopped: Final = Event()
# The kernel probes an idle connection, so that a peer that vanished without closing it, as after
# a power cut, is noticed.
_KEEPALIVE: Final = {
    socket.TCP_KEEPIDLE: 2,
    socket.TCP_KEEPINTVL: 1,
    socket.TCP_KEEPCNT: 3,
}


class RingChannel(Channel):
    """Channel that only pops rings, and records in `availability` whether Redis serves them."""

    from_transport_options = (*Channel.from_transport_options, "availability")
    availability: Availability

    def _brpop_read(self, **options: Any) -> Any:
        try:
            popped = super()._brpop_read(**options)  # type: ignore[misc] # absent from the stubs
        except Empty:
            self.availability.mark_available()
            raise
        self.availability.mark_available()
        return popped

    def _queue_bind(self, *_binding: object) -> None:
        """Do nothing: bindings serve Celery's producer, which is not used here."""


class RingTransport(Transport):
    """Transport for which every error of Redis ends the connection, as a network error does.

    By default a reply such as READONLY, NOPERM or CLUSTERDOWN would end the worker.
    """

    Channel = RingChannel
    connection_errors = (*Transport.connection_errors, RedisError)


class ReconnectingConsumer(Consumer):
    """Celery consumer that tries to reconnect to Redis once a second after any error of Redis."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._redis: Availability = self.app.conf.broker_transport_options["availability"]
        self.connection_errors = RingTransport.connection_errors

    def ensure_connected(self, conn: Connection) -> Connection:
        """Wait until Redis is available or the process is told to stop; return the connection."""
        conn.transport_cls = RingTransport  # type: ignore[assignment] # a name or a class
        return conn.ensure_connection(
            lambda error, _pause: self._redis.mark_unavailable(error),
            interval_start=_RETRY_SECONDS,
            interval_max=_RETRY_SECONDS,
            callback=state.maybe_shutdown,
        )

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection and pause, since a server may accept it and reject every command."""
        self._redis.mark_unavailable(exc)
        super().on_connection_error_after_connected(exc)
        _stopped.wait(_RETRY_SECONDS)


def create_app(settings: Settings) -> Celery:
    """Create a Celery application that only delivers rings."""
    app = Celery("infill", broker=settings.redis.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        # A ring for which no thread is free here is left to other workers.
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        # Concerns late acknowledgement only; unset, Celery warns that its default will change.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_enable_prefetch_count_reduction=False,
        broker_connection_retry_on_startup=True,
        worker_consumer=ReconnectingConsumer,
        broker_use_ssl=settings.redis.tls_options or None,
        broker_transport_options=_transport(settings.redis),
        # Unset, Celery would first bind every ring to an exchange of its default name.
        task_default_queue="infill",
    )
    return app


def create_listener(
    app: Celery,
    on_ring: Callable[[str], object],
    count_free_slots: Callable[[], int],
    *,
    name: str,
    queues: Sequence[str],
    threads: int,
) -> WorkController:
    """Create a Celery worker that calls `on_ring` with a queue's name when that queue is rung.

    `name` is the worker's name. `on_ring` is called in a pool of `threads` threads, but only while
    there are more free slots than such calls; other rings are left to other workers. The caller is
    responsible for signals, logging and exit.
    """

    class ListenForFreeSlots(bootsteps.StartStopStep):
        """Step of the consumer that reads a ring only if there is a free slot for a job."""

        requires = (Tasks,)

        def start(self, parent: Any) -> None:
            quality = parent.task_consumer.channel.qos
            can_consume = quality.can_consume
            quality.can_consume = lambda: (
                len(state.reserved_requests) < count_free_slots() and can_consume()
            )

    @app.task(name=TASK_NAME)
    def ring(queue: str) -> None:
        on_ring(queue)

    app.steps["consumer"].add(ListenForFreeSlots)
    app.set_default()  # the pool's threads look the task up in it
    return app.WorkController(
        pool="threads",
        concurrency=threads,
        queues=list(queues),
        hostname=name,
        # Workers coordinate through Postgres only.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )


def stop_listening() -> None:
    """End the Celery worker within a second; safe to call from any thread."""
    _stopped.set()
    state.should_stop = 0  # type: ignore[assignment] # declared None, an exit code when set


def _transport(redis: RedisSettings) -> dict[str, object]:
    return {
        "availability": Availability("redis"),
        # A ring is gone once read: no list of unacknowledged messages, no visibility timeout.
        "ack_emulation": False,
        # One priority: by default each queue is polled under four names.
        "priority_steps": [0],
        "socket_connect_timeout": redis.timeout_seconds,
        "socket_timeout": _POLL_SECONDS + redis.timeout_seconds,
        "socket_keepalive": True,
        "socket_keepalive_options": _KEEPALIVE,
    }
