"""The guard: every request to an address given by a tenant goes through it."""

from common.outbound.guard import Guard, WebhookResponse
from common.outbound.resolver import Resolver
from common.outbound.url import Target

__all__ = ["Guard", "Resolver", "Target", "WebhookResponse"]
