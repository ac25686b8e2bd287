"""API keys and admin keys over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import AwareDatetime, Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.body.json_documents import JsonDocument
from api.body.query_parameters import Id, Paged
from api.body.rendering import json_result
from api.errors.openapi import document_route
from common.operations import admin_keys, api_keys
from common.operations.paging import Listed
from common.postgres.repositories.tenants.key_records import KeyRecord

router = APIRouter(prefix=PREFIX, tags=["admin: keys"])


class NewKey(JsonDocument):
    """A key to be made; without an expiry it works until it is revoked."""

    name: str
    expires_at: AwareDatetime | None = Field(None, examples=["2027-01-31T00:00:00Z"])


Wanted = Annotated[NewKey, Depends(json_body(NewKey))]


@router.get("/tenants/{tenant}/keys", response_model=Listed[KeyRecord], **document_route())
async def list_keys(admitted: CurrentOperator, tenant: str, asked: Paged) -> Response:
    """List a tenant's API keys, the revoked ones too."""
    return json_result(await api_keys.list_keys(admitted.database, tenant, asked.page))


@router.post(
    "/tenants/{tenant}/keys",
    status_code=201,
    response_model=api_keys.IssuedKey,
    **document_route(body=NewKey),
)
async def issue_key(admitted: CurrentOperator, tenant: str, new: Wanted) -> Response:
    """Make an API key; the key is shown in this answer alone."""
    issued = await api_keys.issue_key(
        admitted.database,
        admitted.operator,
        tenant,
        new.name,
        pepper=admitted.services.settings.gateway.required_pepper(),
        expires_at=new.expires_at,
    )
    return json_result(issued, status=201)


@router.delete("/tenants/{tenant}/keys/{key_id}", response_model=KeyRecord, **document_route())
async def revoke_key(admitted: CurrentOperator, tenant: str, key_id: Id) -> Response:
    """Revoke an API key; gateways trust it for a few seconds more."""
    revoked = await api_keys.revoke_key(admitted.database, admitted.operator, tenant, key_id)
    return json_result(revoked)


@router.get("/admin-keys", response_model=Listed[KeyRecord], **document_route())
async def list_admin_keys(admitted: CurrentOperator, asked: Paged) -> Response:
    """List the admin keys, the revoked ones too."""
    return json_result(await admin_keys.list_admin_keys(admitted.database, asked.page))


@router.post(
    "/admin-keys",
    status_code=201,
    response_model=api_keys.IssuedKey,
    **document_route(409, body=NewKey),
)
async def issue_admin_key(admitted: CurrentOperator, new: Wanted) -> Response:
    """Make an admin key; the key is shown in this answer alone."""
    issued = await admin_keys.issue_admin_key(
        admitted.database,
        admitted.operator,
        new.name,
        pepper=admitted.services.settings.gateway.required_pepper(),
        expires_at=new.expires_at,
    )
    return json_result(issued, status=201)


@router.delete("/admin-keys/{key_id}", response_model=KeyRecord, **document_route())
async def revoke_admin_key(admitted: CurrentOperator, key_id: Id) -> Response:
    """Revoke an admin key; gateways trust it for a few seconds more."""
    revoked = await admin_keys.revoke_admin_key(admitted.database, admitted.operator, key_id)
    return json_result(revoked)
