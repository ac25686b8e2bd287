"""Entry point of the webhook dispatcher: `python -m worker.dispatcher`."""

import asyncio
import sys

import uvloop

from common.domain.errors import ConfigurationError
from common.runtime.logging import configure_logging
from common.settings import Settings
from worker.dispatcher.process import serve


def main() -> None:
    """Run a dispatcher with the environment's settings; exit with a message if any is invalid."""
    settings = Settings()
    try:
        configure_logging(settings.telemetry, process="dispatcher")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except ConfigurationError as error:
        sys.exit(f"infill dispatcher: {error.message}")


if __name__ == "__main__":
    main()
