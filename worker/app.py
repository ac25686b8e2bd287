"""The Celery application: a bell and its ringing threads, nothing more.

Results, retries and late acknowledgement stay off: the job's row owns outcome, attempts and
backoff. A message that is lost, or delivered twice, changes nothing.
"""

from celery import Celery

from common.settings import Settings


def create_app(settings: Settings) -> Celery:
    """Give the application with everything off that a doorbell does not need."""
    app = Celery("infill", broker=settings.redis.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        task_store_errors_even_if_ignored=False,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        # Ours is structlog's JSON; Celery's would be a second voice.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": None,
            "socket_connect_timeout": settings.redis.timeout_seconds,
            "socket_keepalive": True,
        },
        # Unset, Celery would bind every ring to an exchange of this name first.
        task_default_queue="infill",
    )
    return app
