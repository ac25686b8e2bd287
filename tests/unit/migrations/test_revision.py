"""The revision that gateways expect is that of the latest migration."""

from alembic.config import Config
from alembic.script import ScriptDirectory

from common.postgres.schema import SCHEMA_REVISION


def test_the_expected_revision_is_the_latest() -> None:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION
