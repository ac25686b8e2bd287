"""Access keys of the object store: fixed ones, or those of boto3's credential chain."""

from dataclasses import dataclass, field
from datetime import datetime

import boto3
from botocore.credentials import Credentials, RefreshableCredentials

from common.domain.errors import ConfigurationError
from common.settings import StorageSettings


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key; `token` and `expires_at` are set for temporary credentials."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


class AccessKeys:
    """Source of access keys, which refreshes temporary credentials before they expire.

    Without keys in the settings the source is boto3's credential chain: environment, shared files,
    web identity, container and instance roles. The session's own clients use the same keys.
    """

    def __init__(self, session: boto3.session.Session, settings: StorageSettings) -> None:
        """Find the credentials; this may send a request to the cloud's metadata service.

        Raises:
            ConfigurationError: there are no credentials.
        """
        found = _given(settings) or session.get_credentials()
        if found is None:
            raise ConfigurationError(
                "no credentials for the object store: set INFILL_S3_ACCESS_KEY_ID and "
                "INFILL_S3_SECRET_ACCESS_KEY, or provide credentials that boto3 finds "
                "(AWS_ACCESS_KEY_ID, a profile, a role)"
            )
        self._credentials: Credentials = found

    def is_refresh_needed(self) -> bool:
        """Return whether `read` would refresh the credentials, which blocks the thread."""
        credentials = self._credentials
        return isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed()

    def read(self) -> AccessKey:
        """Return the current access key; temporary credentials are refreshed when they are due.

        Raises:
            BotoCoreError, ClientError: the credentials have expired and could not be refreshed.
        """
        self._credentials.get_frozen_credentials()
        # Read before the key: a refresh in between makes the expiry too early, never too late.
        expires_at = getattr(self._credentials, "_expiry_time", None)
        frozen = self._credentials.get_frozen_credentials()
        return AccessKey(frozen.access_key or "", frozen.secret_key or "", frozen.token, expires_at)


def _given(settings: StorageSettings) -> Credentials | None:
    if settings.fixed_keys is None:
        return None
    token = settings.session_token
    return Credentials(*settings.fixed_keys, None if token is None else token.get_secret_value())
