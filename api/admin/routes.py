"""The router that combines all routes of the admin API."""

from typing import Final

from fastapi import APIRouter

from api.admin import audit, jobs, keys, plans, tenants, usage, webhook_secrets

_PARTS: Final = (tenants, keys, webhook_secrets, plans, usage, jobs, audit)

router = APIRouter()
router.routes.extend(route for part in _PARTS for route in part.router.routes)
