"""``python -m respaldo``."""

from respaldo.cli.main import main

main()
