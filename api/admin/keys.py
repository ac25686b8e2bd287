"""Admin routes for API keys and admin keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.admin.fields import Name, PathName
from api.body.json_documents import JsonDocument, UtcTime
from api.body.json_response import json_result
from api.body.query_parameters import Id, Paged
from api.errors.openapi import document_route
from common.operations import admin_keys, api_keys
from common.operations.paging import Listed
from common.postgres.repositories.tenants.key_records import KeyRecord

router = APIRouter(prefix=PREFIX, tags=["admin: keys"])


class NewKey(JsonDocument):
    """Request body: name and expiry of a new key; without an expiry, it is valid until revoked."""

    name: Name
    expires_at: UtcTime | None = Field(None, examples=["2027-01-31T00:00:00Z"])


NewKeyBody = Annotated[NewKey, Depends(json_body(NewKey))]


@router.get("/tenants/{tenant}/keys", response_model=Listed[KeyRecord], **document_route())
async def list_keys(context: CurrentOperator, tenant: PathName, query: Paged) -> Response:
    """List a tenant's API keys, including revoked ones."""
    return json_result(await api_keys.list_keys(context.database, tenant, query.page))


@router.post(
    "/tenants/{tenant}/keys",
    status_code=201,
    response_model=api_keys.IssuedKey,
    **document_route(body=NewKey),
)
async def issue_key(context: CurrentOperator, tenant: PathName, new: NewKeyBody) -> Response:
    """Create an API key; the key is shown in this response only."""
    issued = await api_keys.issue_key(
        context.database,
        context.operator,
        tenant,
        new.name,
        pepper=context.services.settings.gateway.require_pepper(),
        expires_at=new.expires_at,
    )
    return json_result(issued, status=201)


@router.delete("/tenants/{tenant}/keys/{key_id}", response_model=KeyRecord, **document_route())
async def revoke_key(context: CurrentOperator, tenant: PathName, key_id: Id) -> Response:
    """Revoke an API key; gateways cache keys and may accept it for a few more seconds."""
    revoked = await api_keys.revoke_key(context.database, context.operator, tenant, key_id)
    return json_result(revoked)


@router.get("/admin-keys", response_model=Listed[KeyRecord], **document_route())
async def list_admin_keys(context: CurrentOperator, query: Paged) -> Response:
    """List the admin keys, including revoked ones."""
    return json_result(await admin_keys.list_admin_keys(context.database, query.page))


@router.post(
    "/admin-keys",
    status_code=201,
    response_model=api_keys.IssuedKey,
    **document_route(409, body=NewKey),
)
async def issue_admin_key(context: CurrentOperator, new: NewKeyBody) -> Response:
    """Create an admin key; the key is shown in this response only."""
    issued = await admin_keys.issue_admin_key(
        context.database,
        context.operator,
        new.name,
        pepper=context.services.settings.gateway.require_pepper(),
        expires_at=new.expires_at,
    )
    return json_result(issued, status=201)


@router.delete("/admin-keys/{key_id}", response_model=KeyRecord, **document_route())
async def revoke_admin_key(context: CurrentOperator, key_id: Id) -> Response:
    """Revoke an admin key; gateways cache keys and may accept it for a few more seconds."""
    revoked = await admin_keys.revoke_admin_key(context.database, context.operator, key_id)
    return json_result(revoked)
