"""What was used: a ledger that is only added to, and its daily totals."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Date, ForeignKey, Index, Numeric, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import VACUUMED_OFTEN, Table

# Width × height × steps × images is a whole number of pixel-steps, so six places hold it exactly:
# sums agree to the last digit whatever the order they were added in.
MEGAPIXEL_STEPS = Numeric(20, 6)


class UsageEntry(Table):
    """What a succeeded job cost; written with its result, never changed.

    It outlives the job, so it carries no foreign key to it. `flagged_images` of its images were
    found unsafe; they are among `images`.
    """

    __tablename__ = "usage_entries"

    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    model: Mapped[str]
    images: Mapped[int] = mapped_column(SmallInteger)
    megapixel_steps: Mapped[Decimal] = mapped_column(MEGAPIXEL_STEPS)
    gpu_milliseconds: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    flagged_images: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))

    __table_args__ = (Index(None, "tenant_id", "created_at"),)


class UnfoldedUsage(Table):
    """An entry that is not in the daily totals yet; written with it, deleted when it is added.

    A mark of its own leaves the ledger untouched, and unlike a place in it cannot pass over an
    entry whose transaction was slow to commit.
    """

    __tablename__ = "unfolded_usage"

    job_id: Mapped[int] = mapped_column(
        ForeignKey("usage_entries.job_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    # So that a tenant's own are found without the ledger.
    tenant_id: Mapped[int] = mapped_column(index=True)

    __table_args__ = ({"postgresql_with": VACUUMED_OFTEN},)


class DailyUsage(Table):
    """The entries of one tenant, model and day, a day in UTC, added up by the sweeper."""

    __tablename__ = "daily_usage"

    tenant_id: Mapped[int] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int]
    images: Mapped[int]
    megapixel_steps: Mapped[Decimal] = mapped_column(MEGAPIXEL_STEPS)
    gpu_milliseconds: Mapped[int]
    flagged_images: Mapped[int] = mapped_column(server_default=text("0"))
