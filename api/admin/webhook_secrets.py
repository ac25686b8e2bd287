"""Admin routes for tenants' webhook secrets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.admin.fields import PathName
from api.body.json_documents import JsonDocument
from api.body.json_response import json_result
from api.body.query_parameters import Id, Paged
from api.errors.openapi import document_route
from common.operations import webhook_secrets
from common.operations.paging import Listed
from common.postgres.repositories.tenants.webhook_secrets import WebhookSecretRecord

router = APIRouter(
    prefix=f"{PREFIX}/tenants/{{tenant}}/webhook-secrets", tags=["admin: webhook secrets"]
)


class Rotation(JsonDocument):
    """Request body: how long webhooks are signed with both the old secret and the new one."""

    overlap_seconds: float = Field(
        webhook_secrets.SECRET_OVERLAP_SECONDS,
        json_schema_extra={"minimum": 0, "maximum": webhook_secrets.LONGEST_OVERLAP_SECONDS},
    )


@router.get("", response_model=Listed[WebhookSecretRecord], **document_route())
async def list_webhook_secrets(
    context: CurrentOperator, tenant: PathName, query: Paged
) -> Response:
    """List a tenant's webhook secrets by id and dates, without the secret values."""
    listed = await webhook_secrets.list_webhook_secrets(context.database, tenant, query.page)
    return json_result(listed)


@router.post(
    "",
    status_code=201,
    response_model=webhook_secrets.NewSecret,
    **document_route(body=Rotation),
)
async def rotate_webhook_secret(
    context: CurrentOperator,
    tenant: PathName,
    rotation: Annotated[Rotation, Depends(json_body(Rotation))],
) -> Response:
    """Create a webhook secret, which is shown in this response only.

    During the overlap, webhooks are signed with both the old secret and the new one.
    """
    created = await webhook_secrets.rotate_webhook_secret(
        context.database,
        context.operator,
        tenant,
        overlap_seconds=rotation.overlap_seconds,
    )
    return json_result(created, status=201)


@router.delete("/{secret_id}", response_model=WebhookSecretRecord, **document_route(409))
async def expire_webhook_secret(
    context: CurrentOperator, tenant: PathName, secret_id: Id
) -> Response:
    """Expire a previous webhook secret now, before the end of its overlap with the current one."""
    expired = await webhook_secrets.expire_webhook_secret(
        context.database, context.operator, tenant, secret_id
    )
    return json_result(expired)
