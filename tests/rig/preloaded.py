"""What each run of the program imports, imported before: all of it but the command line, which speaks a language from
its import on."""

from __future__ import annotations

import gettext
import importlib
import pkgutil

import respaldo
from respaldo.language import CATALOGUES, LANGUAGES

for _module in pkgutil.walk_packages(respaldo.__path__, "respaldo."):
    if not _module.name.startswith(("respaldo.cli", "respaldo.__main__")):
        importlib.import_module(_module.name)
for _name in ("click", "docker", "yaml"):
    importlib.import_module(_name)
# Read once; each run then takes what was read.
for _language in LANGUAGES:
    gettext.translation("messages", str(CATALOGUES), languages=[_language])
