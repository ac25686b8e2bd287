"""A process under test: the ordinary command with the harness's hooks.

`python -m tests.chaos.inside worker|dispatcher|gateway …`
"""

import sys

from deploy.cli.main import main
from tests.chaos.inside import broken_protections as breaking
from tests.chaos.inside import dispatcher, gateway, worker
from tests.chaos.inside.hooks import BROKEN

if __name__ == "__main__":
    if BROKEN:  # first: hooks apply to the broken functions too
        breaking.BREAKS[BROKEN]()
    {"worker": worker, "dispatcher": dispatcher, "gateway": gateway}[sys.argv[1]].install()
    main()
