"""The outbound guard, through which every request to a tenant-supplied address is sent."""

from common.outbound.guard import Guard, WebhookResponse
from common.outbound.resolver import Resolver
from common.outbound.url import Target

__all__ = ["Guard", "Resolver", "Target", "WebhookResponse"]
