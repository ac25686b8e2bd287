"""The three stores, as processes that can be taken away, and the settings that name them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings
from common.settings.section import export_environment
from deploy.local.local_secrets import load_or_create_secrets
from deploy.local.servers.ports import free_ports
from deploy.local.servers.postgres import PostgresServer
from deploy.local.servers.redis import RedisServer
from deploy.local.servers.s3 import S3Server
from deploy.local.servers.stores import prepare_stores
from deploy.local.stack import default_settings
from tests.chaos.installation.fleet import Member
from tests.chaos.journal import Journal
from tests.chaos.plan import Plan

# Shorter times than in production, so that a run has many rounds of everything.
IMPATIENT = {
    "INFILL_S3_TIMEOUT_SECONDS": "5",
    "INFILL_WORKER_ENGINE": "tests.chaos.inside.engine:create_engine",
    "INFILL_WORKER_SHUTDOWN_SECONDS": "3",
    "INFILL_WORKER_STORE_RETRY_SECONDS": "3",
    "INFILL_WEBHOOK_TIMEOUT_SECONDS": "3",
    "INFILL_WEBHOOK_LEASE_SECONDS": "6",
    "INFILL_WEBHOOK_RETRY_SCHEDULE_SECONDS": json.dumps([0.5, 1, 1, 2, 2, 4, 4, 8, 8, 15, 15, 15]),
    "INFILL_RETENTION_INTERVAL_SECONDS": "2",
}


@dataclass(frozen=True, slots=True)
class Stores:
    """The servers, and the members of the fleet that run them."""

    postgres_server: PostgresServer
    postgres: Member
    redis: Member
    s3: Member
    s3_port: int
    s3_folder: Path
    settings: Settings


@asynccontextmanager
async def open_stores(plan: Plan, home: Path, journal: Journal) -> AsyncIterator[Stores]:
    """Start the three servers, migrated and with a bucket, and export every setting."""
    keyring, ports = load_or_create_secrets(home), free_ports(3)
    postgres = PostgresServer(home, ports[0], keyring.postgres_password)
    redis = RedisServer(home, ports[1])
    s3 = S3Server(home, ports[2], keyring.s3_access_key_id, keyring.s3_secret_access_key)
    members: list[Member] = []
    try:
        for server in (postgres, redis, s3):
            await server.prepare()
            members.append(Member(server.child(), journal, home))
            await members[-1].up()
        await postgres.ensure_database()
        named = {
            "INFILL_DATABASE_URL": postgres.url(),
            "INFILL_REDIS_URL": redis.url(),
            "INFILL_S3_ENDPOINT_URL": s3.endpoint_url,
            "INFILL_S3_ACCESS_KEY_ID": s3.access_key_id,
            "INFILL_S3_SECRET_ACCESS_KEY": s3.secret_access_key,
            "INFILL_S3_BUCKET": s3.bucket,
        }
        export_environment(default_settings(home, 1, keyring) | named | IMPATIENT | _of(plan))
        settings = Settings()
        await prepare_stores(settings, lambda _: None)
        first, second, third = members
        yield Stores(postgres, first, second, third, s3.port, home / "s3", settings)
    finally:
        for member in members:
            await member.end()


def _of(plan: Plan) -> dict[str, str]:
    return {
        "INFILL_JOB_MAX_ATTEMPTS": str(plan.max_attempts),
        "INFILL_JOB_LEASE_SECONDS": str(plan.lease_seconds),
        "INFILL_JOB_HEARTBEAT_SECONDS": str(plan.lease_seconds / 4),
    }
