"""Tenants and keys over HTTP, for the operator; closed unless an admin key is set."""

import hmac
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from pydantic import BaseModel, ConfigDict

from api.answer import json_answer
from api.auth import BEARER
from api.services import Services
from common import tenancy

CREATED: Final = 201

KeyId = Annotated[int, Path(ge=1, lt=2**63)]


class Named(BaseModel):
    """What is to be made is called so."""

    model_config = ConfigDict(extra="forbid")

    name: str


def guarded(request: Request) -> Services:
    """Let the operator in.

    Raises:
        HTTPException: 404 while the admin routes are closed, 401 for a wrong admin key.
    """
    services: Services = request.app.state.services
    key = services.settings.gateway.admin_key
    if key is None:
        raise HTTPException(404)
    sent = request.headers.get("authorization", "")
    wanted = BEARER + key.get_secret_value()
    told = BEARER + sent[len(BEARER) :] if sent.lower().startswith(BEARER) else ""
    if not hmac.compare_digest(told.encode(), wanted.encode()):
        raise HTTPException(401, "The admin key is wrong.", {"www-authenticate": "Bearer"})
    return services


Open = Annotated[Services, Depends(guarded)]

router = APIRouter(prefix="/admin/v1", tags=["admin"])


@router.get("/tenants")
async def list_tenants(services: Open) -> Response:
    """List all tenants."""
    tenants = await tenancy.list_tenants(services.database)
    return json_answer({"tenants": [asdict(tenant) for tenant in tenants]})


@router.post("/tenants", status_code=CREATED)
async def create_tenant(services: Open, named: Named) -> Response:
    """Make a tenant; its webhook secret is shown in this answer alone."""
    tenant = await tenancy.create_tenant(services.database, named.name)
    return json_answer(asdict(tenant), status=CREATED)


@router.get("/tenants/{tenant}/keys")
async def list_keys(services: Open, tenant: str) -> Response:
    """List a tenant's API keys, the revoked ones too."""
    keys = await tenancy.list_keys(services.database, tenant)
    return json_answer({"keys": [asdict(key) for key in keys]})


@router.post("/tenants/{tenant}/keys", status_code=CREATED)
async def issue_key(services: Open, tenant: str, named: Named) -> Response:
    """Make an API key; the key is shown in this answer alone."""
    pepper = services.settings.gateway.api_key_pepper.get_secret_value()
    issued = await tenancy.issue_key(services.database, tenant, named.name, pepper)
    return json_answer(asdict(issued), status=CREATED)


@router.delete("/tenants/{tenant}/keys/{key_id}")
async def revoke_key(services: Open, tenant: str, key_id: KeyId) -> Response:
    """Revoke an API key; gateways trust it for a few seconds more."""
    await tenancy.revoke_key(services.database, tenant, key_id)
    return json_answer({"status": "ok"})


@router.post("/tenants/{tenant}/webhook-secret", status_code=CREATED)
async def rotate_webhook_secret(services: Open, tenant: str) -> Response:
    """Make a new webhook secret; the one before it signs along for a day."""
    secret = await tenancy.rotate_webhook_secret(services.database, tenant)
    return json_answer({"webhook_secret": secret}, status=CREATED)
