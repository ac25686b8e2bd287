"""Load the SQL statements kept as `.sql` files beside the repository modules that run them.

A statement of several steps (common table expressions) is written as SQL text: it reads from top
to bottom, and a comment says why each step is there. A statement on one table stays SQLAlchemy
Core. See decision record 0031.
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
    """Return the statement in file `name` of `package`, for both kinds of connection.

    Load a statement once and keep it: `DirectConnection` compiles it when it first meets it.

    Args:
        package: of the calling module, `__package__`.
        name: of the file, with its suffix.
        columns: what the rows consist of, in order: table columns or `sqlalchemy.column()`s. Their
            types convert the values, as for a Core statement.
        types: of those parameters whose values SQLAlchemy has to convert, such as JSON. Of all
            others Postgres infers the type; where it cannot, the text has a CAST.
        integers: are written into the text in place of `{key}`. For a LIMIT: with a bound one
            Postgres settles on a generic plan, which can be a hundred times slower.

    Raises:
        TypeError: a value of `integers` is no int.
        ValueError: the placeholders in the text are not the keys of `integers`.
    """
    literals = {} if integers is None else integers
    written = _COMMENT_LINE.sub("", files(package).joinpath(name).read_text(encoding="utf-8"))
    if set(_PLACEHOLDER.findall(written)) != literals.keys():
        raise ValueError(f"{name}: its placeholders are not {sorted(literals)}")
    for key, value in literals.items():
        if type(value) is not int:
            raise TypeError(f"{name}: {key} has to be an int")
        written = written.replace(f"{{{key}}}", str(value))
    converted = [bindparam(key, type_=kind) for key, kind in (types or {}).items()]
    statement = text(written).bindparams(*converted)
    return statement.columns(*columns) if columns else statement
