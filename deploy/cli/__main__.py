"""`python -m deploy.cli`: the same as `infill`."""

from deploy.cli.main import main

main()
