"""The columns many migrations make; a migration that needs another form spells it out."""

from datetime import datetime

import sqlalchemy as sa


def key() -> sa.Column[int]:
    """Make the column `id`, numbered by the database."""
    return sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False)


def moment(name: str) -> sa.Column[datetime]:
    """Make a time that need not have come yet."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def moment_now(name: str) -> sa.Column[datetime]:
    """Make a time that is now unless it is told."""
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def state(first: str, *others: str) -> sa.Column[str]:
    """Make the column `state`, which is `first` at first and one of these always."""
    allowed = sa.Enum(
        first, *others, name="state", native_enum=False, create_constraint=True, length=16
    )
    return sa.Column("state", allowed, server_default=first, nullable=False)
