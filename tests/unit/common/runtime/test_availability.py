from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from common.domain.errors import StorageUnavailableError
from common.runtime.availability import Availability


def test_only_changes_are_logged() -> None:
    part = Availability("postgres")
    with capture_logs() as lines:
        part.mark_available()
        part.mark_unavailable(ConnectionError("closed"))
        part.mark_unavailable(TimeoutError())
        while_away = part.is_available
        part.mark_available()
        part.mark_available()
    assert (while_away, part.is_available) == (False, True)
    assert [(line["event"], line.get("error")) for line in lines] == [
        ("dependency_unavailable", "ConnectionError"),
        ("dependency_available", None),
    ]


def test_the_type_of_the_drivers_error_is_logged_without_its_text() -> None:
    with capture_logs() as lines:
        error = DBAPIError("SELECT secret", ("whsec_x",), ConnectionResetError("whsec_x"))
        Availability("postgres").mark_unavailable(error)
    assert lines[0]["error"] == "ConnectionResetError"
    assert "whsec_x" not in str(lines)


def test_the_detail_of_our_own_errors_is_logged() -> None:
    with capture_logs() as lines:
        Availability("store").mark_unavailable(
            StorageUnavailableError("not available", detail="AccessDenied")
        )
    assert (lines[0]["error"], lines[0]["detail"]) == ("StorageUnavailableError", "AccessDenied")
