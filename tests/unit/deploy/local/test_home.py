import os
from pathlib import Path

import pytest

from common.domain.errors import ConfigurationError
from deploy.local.home import held


def test_a_home_has_one_owner_at_a_time(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    refused = pytest.raises(ConfigurationError, match=f"in use .* process {os.getpid()}: stop")
    with held(home), refused, held(home):
        pass
    with held(home):
        assert (home / "lock").read_text() == str(os.getpid())
