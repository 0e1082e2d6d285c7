"""What a restored database would do by itself: event triggers, and those triggers and rules that act even under
``session_replication_role = replica``, off and back as they were."""

from __future__ import annotations

from collections.abc import Iterable

from respaldo.postgres.identifiers import quote_literal
from respaldo.postgres.server import Server
from respaldo.postgres.session import Session

_EVENT_TRIGGERS_SETTING_SINCE = 17

# Those of partitions too, to which rows are sent on; ancestors first.
_ACTING = """
WITH named AS (SELECT unnest(ARRAY[{tables}]::pg_catalog.regclass[]) AS oid),
tables AS (SELECT oid FROM named UNION SELECT p.relid FROM named, pg_catalog.pg_partition_tree(named.oid) p),
acting AS (
  SELECT tgrelid AS oid, 'TRIGGER' AS kind, tgname AS name, tgenabled AS state FROM pg_catalog.pg_trigger
  UNION ALL SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_catalog.pg_rewrite)
SELECT pg_catalog.format('ALTER TABLE ONLY %I.%I', n.nspname, c.relname) AS alter,
       pg_catalog.format('%s %I', a.kind, a.name) AS what,
       CASE a.state WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END AS was
  FROM tables JOIN acting a USING (oid) JOIN pg_catalog.pg_class c USING (oid)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.state IN ('A', 'R')
 ORDER BY (SELECT pg_catalog.count(*) FROM pg_catalog.pg_partition_ancestors(c.oid)), 1, 2"""


def settings_without_event_triggers(server: Server) -> str:
    """Return the settings of a session whose statements fire no event trigger; before version 17 all but those that are
    enabled always. Empty where the role may not set them."""
    if not server.facts.is_superuser:
        return ""
    quiet = "SET session_replication_role = replica;\n"
    return quiet + ("SET event_triggers = off;\n" if server.facts.major >= _EVENT_TRIGGERS_SETTING_SINCE else "")


def read_standstill(session: Session, tables: Iterable[str]) -> tuple[str, str]:
    """Return the statements that switch them off for these tables, and those that set each back as it is now."""
    acting = list(session.query(_ACTING.format(tables=", ".join(map(quote_literal, tables)))))
    off = "".join(f"{one['alter']} DISABLE {one['what']};\n" for one in acting)
    back = "".join(f"{one['alter']} {one['was']} {one['what']};\n" for one in acting)
    return off, back
