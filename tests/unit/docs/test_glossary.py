"""Words the glossary bans are in no file of the project."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/glossary.md"
FOLDERS = ("api", "common", "worker", "migrations", "deploy", "tests", "docs")
KINDS = {".py", ".sql", ".md", ".toml", ".yml"}
# A decision record keeps the words of its day, in its file's name too; the changelog names history.
HISTORY = {ROOT / "docs/decisions", PAGE}


def banned_words() -> list[str]:
    section = PAGE.read_text(encoding="utf-8").split("## Words we do not use")[1]
    rows = re.findall(r"^\| ([^|]+) \| ", section, re.MULTILINE)
    words = [word.split("(")[0].strip() for row in rows for word in row.split(",")]
    return [word for word in words if word not in {"not", "---"}]


def files() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docker-compose.yml"]
    for folder in FOLDERS:
        found += [
            file
            for file in (ROOT / folder).rglob("*")
            if file.suffix in KINDS and not any(file.is_relative_to(past) for past in HISTORY)
        ]
    return [file for file in found if file != Path(__file__)]


# Terms of others that contain a banned word.
ALLOWED = re.compile("carrier-grade")
TEXTS = {file: ALLOWED.sub("", file.read_text(encoding="utf-8")) for file in files()}


@pytest.mark.parametrize("word", banned_words())
def test_a_banned_word_is_nowhere(word: str) -> None:
    # Words are joined by underscores or capitals in identifiers: `read_picture`, `PictureReader`.
    pattern = re.compile(rf"(?<![a-z]){word}(?:s|es)?(?![a-z])", re.IGNORECASE)
    camel = re.compile(rf"(?<=[a-z]){word.capitalize()}(?![a-z])")
    places = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line) or camel.search(line)
    ]
    assert places == []


def test_every_word_has_one_row() -> None:
    words = re.findall(r"^\| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    terms = [term.strip() for row in words for term in row.split(",")]
    listed = [term for term in terms if term not in {"word", "not", "---"}]
    assert sorted({term for term in listed if listed.count(term) > 1}) == []
