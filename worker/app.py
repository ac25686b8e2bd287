"""The Celery application: a bell and its ringing threads, nothing more.

Results, retries and late acknowledgement stay off: the job's row owns outcome, attempts and
backoff. A message that is lost, or delivered twice, changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Final

from celery import Celery
from celery.worker import WorkController, state

from common.broker.doorbell import TASK_NAME
from common.settings import RedisSettings, Settings

# kombu asks Redis for the next ring with a wait this long; an answer takes so long at most.
_LISTENING_SECONDS: Final = 1.0


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
        broker_connection_max_retries=None,
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
    """Let the listener end when it next wakes, within a second; may be called from a signal."""
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
    }
