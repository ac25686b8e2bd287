"""Read and split the SQL files that migrations run."""

import re
from importlib.resources import files
from typing import Final

# A statement ends at a semicolon outside of comments, quoted strings and $body$ … $body$.
_STATEMENT: Final = re.compile(
    r"""
    (?: --[^\n]*                # comment
      | '[^']*'                 # string
      | \$body\$ .*? \$body\$   # body of a function
      | [^;]
    )++ ;
    """,
    re.DOTALL | re.VERBOSE,
)


def read_statements(path: str) -> list[str]:
    """Return the statements of an SQL file; `path` is relative to this package.

    Raises:
        ValueError: the last statement does not end with a semicolon.
    """
    return split_statements(files("migrations").joinpath(path).read_text(encoding="utf-8"))


def split_statements(text: str) -> list[str]:
    """Return the statements of an SQL text, each with the comments before it.

    Statements are run one at a time, because asyncpg cannot prepare several at once. Function
    bodies must be quoted with `$body$`.

    Raises:
        ValueError: the last statement does not end with a semicolon.
    """
    statements: list[str] = _STATEMENT.findall(text)
    if "".join(statements) != text.rstrip():
        raise ValueError("the last statement does not end with a semicolon")
    return statements
