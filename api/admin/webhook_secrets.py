"""Webhook secrets over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.body.json_documents import JsonDocument
from api.body.query_parameters import Id, Paged
from api.body.rendering import json_result
from api.errors.openapi import document_route
from common.operations import webhook_secrets
from common.operations.paging import Listed
from common.postgres.repositories.tenants.webhook_secrets import WebhookSecretRecord

router = APIRouter(
    prefix=f"{PREFIX}/tenants/{{tenant}}/webhook-secrets", tags=["admin: webhook secrets"]
)


class Rotation(JsonDocument):
    """How long the secret before the new one signs along."""

    overlap_seconds: float = Field(webhook_secrets.SECRET_OVERLAP_SECONDS)


@router.get("", response_model=Listed[WebhookSecretRecord], **document_route())
async def list_webhook_secrets(admitted: CurrentOperator, tenant: str, asked: Paged) -> Response:
    """List a tenant's webhook secrets, without the secrets themselves."""
    listed = await webhook_secrets.list_webhook_secrets(admitted.database, tenant, asked.page)
    return json_result(listed)


@router.post(
    "",
    status_code=201,
    response_model=webhook_secrets.NewSecret,
    **document_route(body=Rotation),
)
async def rotate_webhook_secret(
    admitted: CurrentOperator,
    tenant: str,
    rotation: Annotated[Rotation, Depends(json_body(Rotation))],
) -> Response:
    """Make a new webhook secret, shown in this answer alone; the one before it signs along."""
    made = await webhook_secrets.rotate_webhook_secret(
        admitted.database,
        admitted.operator,
        tenant,
        overlap_seconds=rotation.overlap_seconds,
    )
    return json_result(made, status=201)


@router.delete("/{secret_id}", response_model=WebhookSecretRecord, **document_route(409))
async def expire_webhook_secret(admitted: CurrentOperator, tenant: str, secret_id: Id) -> Response:
    """Let an older webhook secret sign no more, before its overlap is over."""
    expired = await webhook_secrets.expire_webhook_secret(
        admitted.database, admitted.operator, tenant, secret_id
    )
    return json_result(expired)
