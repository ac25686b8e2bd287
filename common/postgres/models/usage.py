"""Tables of usage: an append-only ledger and daily totals."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Date, ForeignKey, Index, Numeric, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from common.postgres.models.schema import VACUUMED_OFTEN, Table

# Width × height × steps × images is an integer number of pixel-steps, so six decimal places are
# exact, and sums are the same in whatever order they are added.
MEGAPIXEL_STEPS = Numeric(20, 6)


class UsageEntry(Table):
    """The usage of one succeeded job; written together with its result, never changed.

    The entry outlives the job, so it has no foreign key to the job. `flagged_images` is the number
    of the `images` that the safety checker flagged.
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
    """A mark on a usage entry not yet folded into the daily totals; folding deletes the mark.

    The mark is a separate row so that the ledger remains append-only. If the position in the ledger
    were stored instead, an entry whose transaction commits late could be skipped.
    """

    __tablename__ = "unfolded_usage"

    job_id: Mapped[int] = mapped_column(
        ForeignKey("usage_entries.job_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    # Repeated from the entry, so that a tenant's marks are found without the ledger.
    tenant_id: Mapped[int] = mapped_column(index=True)

    __table_args__ = ({"postgresql_with": VACUUMED_OFTEN},)


class DailyUsage(Table):
    """Total usage per tenant, model and UTC day, summed up by the sweeper."""

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
