"""Load SQL statements from `.sql` files beside the repository modules that run them.

Statements with several steps (common table expressions) are written as SQL text, which reads from
top to bottom, with a comment for each step. Statements on one table are written in SQLAlchemy Core.
See decision record 0031.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import Executable, bindparam, text
from sqlalchemy.types import TypeEngine

# Comments are for readers of the file. Postgres shows the start of a running statement in
# pg_stat_activity, which should be the statement.
_COMMENT_LINE: Final = re.compile(r"^[ \t]*--.*\n", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def load_sql(
    package: str,
    name: str,
    *,
    columns: Sequence[Any] = (),
    types: Mapping[str, type[TypeEngine[Any]] | TypeEngine[Any]] | None = None,
    integers: Mapping[str, int] | None = None,
) -> Executable:
    """Load the statement in file `name` of `package`, for SQLAlchemy's and direct connections.

    Load each statement once, into a constant, because `DirectConnection` compiles each statement
    object at its first use.

    Args:
        package: the package of the calling module: `__package__`.
        name: the file's name with its suffix.
        columns: the columns of the rows, in order: table columns or `sqlalchemy.column()`s. Their
            types convert the values, as for a Core statement.
        types: the types of parameters that SQLAlchemy has to convert, such as JSON. Postgres infers
            the types of all others; where it cannot, the text has a CAST.
        integers: values written into the text in place of `{key}`. Use them for LIMIT: with a bind
            parameter, Postgres would choose a generic plan, which can be a hundred times slower.

    Raises:
        TypeError: a value of `integers` is not an int.
        ValueError: the placeholders in the text differ from the keys of `integers`.
    """
    literals = {} if integers is None else integers
    sql = _COMMENT_LINE.sub("", files(package).joinpath(name).read_text(encoding="utf-8"))
    if set(_PLACEHOLDER.findall(sql)) != literals.keys():
        raise ValueError(f"{name}: its placeholders are not {sorted(literals)}")
    for key, value in literals.items():
        if type(value) is not int:
            raise TypeError(f"{name}: {key} has to be an int")
        sql = sql.replace(f"{{{key}}}", str(value))
    typed_parameters = [bindparam(key, type_=kind) for key, kind in (types or {}).items()]
    statement = text(sql).bindparams(*typed_parameters)
    return statement.columns(*columns) if columns else statement
