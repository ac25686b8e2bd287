from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from common.domain.errors import StorageUnavailableError
from common.runtime.availability import Availability


def test_only_changes_are_told() -> None:
    part = Availability("postgres")
    with capture_logs() as lines:
        part.mark_available()
        part.mark_unavailable(ConnectionError("refused"))
        part.mark_unavailable(TimeoutError())
        while_away = part.is_available
        part.mark_available()
        part.mark_available()
    assert (while_away, part.is_available) == (False, True)
    assert [(line["event"], line.get("error")) for line in lines] == [
        ("dependency_unavailable", "ConnectionError"),
        ("dependency_available", None),
    ]


def test_the_drivers_error_is_named_and_no_text_is_told() -> None:
    with capture_logs() as lines:
        error = DBAPIError("SELECT secret", ("whsec_x",), ConnectionResetError("whsec_x"))
        Availability("postgres").mark_unavailable(error)
    assert lines[0]["error"] == "ConnectionResetError"
    assert "whsec_x" not in str(lines)


def test_what_our_own_errors_tell_the_operator_is_told() -> None:
    with capture_logs() as lines:
        Availability("store").mark_unavailable(
            StorageUnavailableError("not available", detail="AccessDenied")
        )
    assert (lines[0]["error"], lines[0]["detail"]) == ("StorageUnavailableError", "AccessDenied")
