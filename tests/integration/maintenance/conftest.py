"""A shelf of real pictures in a real store, and the rows that know of them."""

import asyncio

import pytest
from types_boto3_s3 import S3Client

from common.object_store.storage import Storage
from common.postgres.database import Database
from common.settings import StorageSettings
from tests.integration.dispatcher.conftest import storage
from tests.integration.maintenance.stored_objects import Shelf
from tests.integration.repositories.conftest import database, make_tenant

__all__ = ["database", "storage"]  # fixtures made elsewhere


@pytest.fixture
async def shelf(
    database: Database, storage: Storage, bucket: StorageSettings, s3_client: S3Client
) -> Shelf:
    books = await make_tenant(database, "alice")
    return Shelf(books, storage, s3_client, bucket.bucket, asyncio.Event())
