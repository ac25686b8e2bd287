"""The documentation names every setting as the code has it."""

from pathlib import Path

import pytest

from deploy.cli.settings_table import PAGES, list_sections, list_variables, rewrite_page, write

ROOT = Path(__file__).parents[4]
AGAIN = "run `python -m deploy.cli.settings_table`"


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_are_up_to_date(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert rewrite_page(page) == page, AGAIN


def test_the_full_table_holds_every_variable() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `INFILL_")] == (
        list(list_variables())
    )


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in list_variables().items() if not field.description] == []


def test_all_sections_are_found() -> None:
    assert len(list(list_sections())) == 12
    assert {
        "INFILL_DATABASE_URL",
        "INFILL_PUBLIC_URL",
        "INFILL_STATUS_PORT",
    } <= list_variables().keys()


def test_only_the_text_between_the_marks_is_replaced() -> None:
    page = (
        "before\n<!-- settings: INFILL_S3_BUCKET INFILL_LOG_LEVEL -->\nold\n"
        "<!-- end of settings -->\nafter\n"
    )
    assert rewrite_page(page) == (
        "before\n<!-- settings: INFILL_S3_BUCKET INFILL_LOG_LEVEL -->\n"
        "| variable | default | meaning |\n|---|---|---|\n"
        "| `INFILL_S3_BUCKET` | `infill` | Bucket for results and uploaded inputs. |\n"
        "| `INFILL_LOG_LEVEL` | `INFO` | Lowest level that is logged. |\n"
        "<!-- end of settings -->\nafter\n"
    )


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(KeyError, match="INFILL_NOTHING"):
        rewrite_page("<!-- settings: INFILL_NOTHING -->\n<!-- end of settings -->\n")


def test_pages_are_rewritten_in_place(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in PAGES:
        (tmp_path / name).write_text(
            "<!-- settings: INFILL_JOB_MAX_ATTEMPTS -->\n<!-- end of settings -->\n"
        )
    write(tmp_path)
    assert all("| `3` | Maximum attempts" in (tmp_path / name).read_text() for name in PAGES)
