"""A drill's report as one HTML file: no script, nothing fetched, every text escaped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape

from respaldo.language import _, choose_language
from respaldo.repository.proof import Proof, Verdict
from respaldo.repository.records import Manifest
from respaldo.units import format_count, format_duration, format_size

_COLOURS = {Verdict.PROVEN: "#1a7f37", Verdict.FAILED: "#cf222e", Verdict.INCONCLUSIVE: "#9a6700"}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.35rem .75rem;
border-bottom:1px solid #d1d9e0;vertical-align:top;overflow-wrap:anywhere}th{width:14rem;font-weight:600}
.verdict{display:inline-block;color:#fff;border-radius:.4rem;padding:.1rem .7rem;font-weight:600}
.bar{background:#0969da;height:.8rem;border-radius:.2rem;min-width:2px}section{margin-bottom:3rem}
@media print{body{margin:0}}
"""


def render_report(
    drills: Sequence[tuple[Manifest, Proof]], *, verdicts: Mapping[str, str], phases: Mapping[str, str]
) -> str:
    """Return the page. ``verdicts`` and ``phases`` name them in the language of the run."""
    title = escape(_("Drill report"))
    parts = [_section(manifest, proof, verdicts, phases) for manifest, proof in drills]
    nothing = escape(_("no drill is due"))
    body = "\n".join(parts) if parts else f"<p>{nothing}</p>"
    return (
        f'<!doctype html>\n<html lang="{choose_language(os.environ)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(manifest: Manifest, proof: Proof, verdicts: Mapping[str, str], phases: Mapping[str, str]) -> str:
    totals = manifest.totals
    facts = {
        _("target"): str(manifest.target),
        _("environment"): manifest.environment,
        _("made"): f"{proof.made:%Y-%m-%d %H:%M:%S} UTC",
        _("disaster"): proof.disaster or _("none"),
        _("rows"): format_count(totals.rows),
        _("data"): format_size(totals.raw_bytes),
        _("recovery time (RTO)"): format_duration(proof.seconds["restore"]) if "restore" in proof.seconds else "–",
    }
    rows = "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    longest = max(proof.seconds.values(), default=0.0) or 1.0
    bars = "\n".join(
        f"<tr><th>{escape(phases.get(name, name))}</th><td>{escape(format_duration(seconds))}"
        f'<div class="bar" style="width:{100 * seconds / longest:.0f}%"></div></td></tr>'
        for name, seconds in proof.seconds.items()
    )
    findings = "\n".join(f"<li>{escape(finding)}</li>" for finding in proof.findings)
    nothing, headings = escape(_("Nothing differs.")), (escape(_("Phases")), escape(_("Findings")))
    said = f"<ul>\n{findings}\n</ul>" if findings else f"<p>{nothing}</p>"
    return (
        f'<section>\n<h2>{escape(manifest.name)} <span class="verdict" style="background:{_COLOURS[proof.verdict]}">'
        f"{escape(verdicts[proof.verdict])}</span></h2>\n<table>\n{rows}\n</table>\n"
        f"<h3>{headings[0]}</h3>\n<table>\n{bars}\n</table>\n"
        f"<h3>{headings[1]}</h3>\n{said}\n</section>"
    )
