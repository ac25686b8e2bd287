"""How rows become records, and the idioms the statements here share."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, TypeVarTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Interval,
    Select,
    String,
    func,
    literal_column,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import KeyedColumnElement

from common.domain.generation import GenerationRequest
from common.domain.record import InputImage, JobRecord, JobResult
from common.postgres.models import Job

Ts = TypeVarTuple("Ts")

JOB_COLUMNS: tuple[Any, ...] = (
    Job.id,
    Job.tenant_id,
    Job.file_prefix,
    Job.queue,
    Job.state,
    Job.attempt,
    Job.request,
    Job.inputs,
    Job.base64,
    Job.webhook_url,
    Job.track_id,
    Job.result,
    Job.error_code,
    Job.error_message,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
    Job.objects_deleted_at,
    Job.priority,
)


def job_record(row: Sequence[Any]) -> JobRecord:
    """Make a record of a row whose first columns are `JOB_COLUMNS`."""
    fields = {column.key: row[index] for index, column in enumerate(JOB_COLUMNS)}
    fields["request"] = GenerationRequest.from_json(fields["request"])
    fields["inputs"] = {name: InputImage(**stored) for name, stored in fields["inputs"].items()}
    if fields["result"] is not None:
        fields["result"] = JobResult.from_json(fields["result"])
    return JobRecord(**fields)


def is_one_of(
    column: KeyedColumnElement[Any] | Any, states: Iterable[StrEnum]
) -> ColumnElement[bool]:
    """Compare with states written into the statement's text.

    A bound parameter would hide the state from the planner, and a partial index
    (`WHERE state = …`) is only used where the planner sees the state.
    """
    spelled = [literal_column(f"'{state.value}'", String()) for state in sorted(states)]
    if len(spelled) == 1:
        return column == spelled[0]
    return column.in_(spelled)


def from_now(seconds: float | ColumnElement[float]) -> ColumnElement[Any]:
    """Give the database's time in `seconds`: one clock for all, however the machines' differ."""
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval())


def following(
    statement: Select[*Ts],
    key: InstrumentedAttribute[int],
    after: int | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> Select[*Ts]:
    """Choose one page of a list in the order of `key`: the rows that come after `after`."""
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    return statement.order_by(key.desc() if newest_first else key).limit(limit)


def spelled(limit: int) -> ColumnElement[int]:
    """Write a limit into the statement's text: bound, it would get a generic plan."""
    return literal_column(str(int(limit)), BigInteger())
