"""A Celery worker configured as in the product, whose task records its arguments."""

import json
import sys

from redis import Redis

from common.messaging.doorbell import TASK_NAME
from common.settings import Settings
from worker.celery_app import create_app

HEARD = "heard"


def main() -> None:
    settings = Settings()
    app = create_app(settings)
    redis = Redis.from_url(settings.redis.url.get_secret_value())

    @app.task(name=TASK_NAME)
    def look(*arguments: object) -> None:
        redis.rpush(HEARD, json.dumps(arguments))

    app.worker_main(
        [
            "worker",
            "--pool=threads",
            "--concurrency=2",
            "--without-mingle",
            "--without-gossip",
            "--without-heartbeat",
            "--loglevel=WARNING",
            *sys.argv[1:],
        ]
    )


if __name__ == "__main__":
    main()
