"""The guard every outgoing request to a tenant's address passes."""

from common.outbound.guard import Guard, WebhookResponse
from common.outbound.resolver import Resolver
from common.outbound.url import Target

__all__ = ["Guard", "Resolver", "Target", "WebhookResponse"]
