"""Read the SQL files that migrations run."""

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
    """Return the statements of an SQL file, given by its path in this package.

    Raises:
        ValueError: see `split_statements`.
    """
    return split_statements(files("migrations").joinpath(path).read_text(encoding="utf-8"))


def split_statements(text: str) -> list[str]:
    """Return the statements of an SQL text, each with the comments before it.

    They are run one by one, because asyncpg prepares each, and only one can be prepared at a time.
    Function bodies are quoted with `$body$`.

    Raises:
        ValueError: the last statement does not end with a semicolon.
    """
    statements: list[str] = _STATEMENT.findall(text)
    if "".join(statements) != text.rstrip():
        raise ValueError("the last statement does not end with a semicolon")
    return statements
