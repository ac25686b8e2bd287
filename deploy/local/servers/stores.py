"""Start Postgres, Redis and S3 for the local stack, unless the operator has set their URLs."""

from collections.abc import Callable
from pathlib import Path
from secrets import token_urlsafe

from common.object_store.storage import Storage
from common.settings import Settings
from common.settings.section import is_set
from deploy.cli.migrate import upgrade
from deploy.local.local_secrets import LocalSecrets
from deploy.local.processes.child import Server
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import choose_stable_ports
from deploy.local.servers.postgres import PostgresServer
from deploy.local.servers.redis import RedisServer
from deploy.local.servers.s3 import S3Server

Report = Callable[[str], None]


async def start_stores(
    home: Path, secrets: LocalSecrets, supervisor: Supervisor, report: Report
) -> dict[str, str]:
    """Start the stores whose URLs are not set, and return the environment variables for them.

    `report` is called with a description before each start.

    Raises:
        ConfigurationError: a store could not start; the message has the end of its log.
    """
    ports = choose_stable_ports(home, ("postgres", "redis", "s3"))
    environment: dict[str, str] = {}
    if not is_set("INFILL_DATABASE_URL"):
        report("starting PostgreSQL")
        postgres = PostgresServer(home, ports["postgres"], secrets.postgres_password)
        await _start(postgres, supervisor)
        await postgres.ensure_database()
        environment["INFILL_DATABASE_URL"] = postgres.url()
    if not is_set("INFILL_REDIS_URL"):
        report("starting Redis")
        redis = RedisServer(home, ports["redis"], password=token_urlsafe(24))  # it keeps no data
        await _start(redis, supervisor)
        environment["INFILL_REDIS_URL"] = redis.url()
    if not is_set("INFILL_S3_ENDPOINT_URL"):
        report("starting the S3 server")
        s3 = S3Server(home, ports["s3"], secrets.s3_access_key_id, secrets.s3_secret_access_key)
        await _start(s3, supervisor)
        environment |= {
            "INFILL_S3_ENDPOINT_URL": s3.endpoint_url,
            "INFILL_S3_ACCESS_KEY_ID": s3.access_key_id,
            "INFILL_S3_SECRET_ACCESS_KEY": s3.secret_access_key,
            "INFILL_S3_BUCKET": s3.bucket,
        }
    return environment


async def prepare_stores(settings: Settings, report: Report) -> None:
    """Migrate the database, and create the bucket if it is missing.

    Before the migration, `report` is called with a description of it.

    Raises:
        StorageUnavailableError: the bucket is missing, and the object store cannot create it.
    """
    report("migrating the database")
    await upgrade(settings.database.url.get_secret_value())
    storage = Storage(settings.storage)
    try:
        await storage.create_bucket()
    finally:
        storage.close()


async def _start(server: Server, supervisor: Supervisor) -> None:
    await server.prepare()
    await supervisor.start(server.child())
