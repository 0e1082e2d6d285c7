"""Sizes, durations and counts as a person reads them. Standard library only; no language, no terminal."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def format_size(size_bytes: int) -> str:
    """Write a size in binary units with at most three digits of precision: ``17 B``, ``5.6 MiB``, ``116 MiB``."""
    value = float(size_bytes)
    for unit in _SIZES:
        if value < 1000 or unit == _SIZES[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{size_bytes} B"
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def format_duration(seconds: float) -> str:
    """Write a duration: ``4.1 s``, ``2 min 5 s``, ``1 h 3 min``, ``2 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    if total < 86400:
        return f"{total // 3600} h {total % 3600 // 60} min"
    return f"{total // 86400} d {total % 86400 // 3600} h"


def format_count(count: int) -> str:
    """Write a count with a narrow space between thousands, which no language reads as a decimal mark."""
    return f"{count:,}".replace(",", "\u202f")
