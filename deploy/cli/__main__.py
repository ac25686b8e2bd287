"""Entry point `python -m deploy.cli`, the same as the command `infill`."""

from deploy.cli.main import main

main()
