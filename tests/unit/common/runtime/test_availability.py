from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from common.domain.errors import StorageUnavailableError
from common.runtime.availability import Availability


def test_only_changes_are_told() -> None:
    part = Availability("postgres")
    with capture_logs() as lines:
        part.found()
        part.missed(ConnectionError("refused"))
        part.missed(TimeoutError())
        while_away = part.there
        part.found()
        part.found()
    assert (while_away, part.there) == (False, True)
    assert [(line["event"], line.get("error")) for line in lines] == [
        ("part_went_away", "ConnectionError"),
        ("part_came_back", None),
    ]


def test_the_drivers_error_is_named_and_no_text_is_told() -> None:
    with capture_logs() as lines:
        error = DBAPIError("SELECT secret", ("whsec_x",), ConnectionResetError("whsec_x"))
        Availability("postgres").missed(error)
    assert lines[0]["error"] == "ConnectionResetError"
    assert "whsec_x" not in str(lines)


def test_what_our_own_errors_tell_the_operator_is_told() -> None:
    with capture_logs() as lines:
        Availability("store").missed(
            StorageUnavailableError("not available", detail="AccessDenied")
        )
    assert (lines[0]["error"], lines[0]["detail"]) == ("StorageUnavailableError", "AccessDenied")
