"""The environment of a run, completed by ``.env`` before the first word is said: it may name the language."""

from __future__ import annotations

import os
import sys

from respaldo.config.dotenv import load_dotenv
from respaldo.errors import RespaldoError


def complete_environment() -> None:
    """Set what ``.env`` of the working directory says and the environment does not; end the program where the file
    cannot be read."""
    try:
        load_dotenv(os.environ)
    except RespaldoError as error:
        from respaldo.cli.printing import Output

        Output().fail(error)
        sys.exit(error.exit_code)
