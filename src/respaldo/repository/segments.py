"""The segments table as bytes: one zstd frame of one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from respaldo.language import _
from respaldo.repository.codec import CodecError, compress, decompress
from respaldo.repository.fields import FieldError, Fields, Json, as_count, as_list, as_text, parse_object
from respaldo.repository.format import FORMAT, MAX_DELTA_TEXT, MAX_SEGMENTS_TEXT, is_digest
from respaldo.repository.records import Segment, SegmentKind, Series

_KINDS: Mapping[str, SegmentKind] = {"frame": "frame", "delta": "delta", "ref": "ref"}
_COLUMNS = ["series", "part", "kind", "pack", "offset", "length", "raw_size", "rows", "blake3", "base_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTable:
    """The series and segments of a backup; ``Segment.series`` is the place of its series here."""

    series: tuple[Series, ...]
    segments: tuple[Segment, ...]


def encode_segments(series: Sequence[Series], segments: Sequence[Segment]) -> bytes:
    """Return the bytes of ``segments.json.zst``."""
    document = {
        "format": FORMAT,
        "series": [[one.key, one.head, one.tail] for one in series],
        "columns": _COLUMNS,
        "segments": [
            [
                segment.series,
                segment.part,
                segment.kind,
                segment.pack,
                segment.offset,
                segment.length,
                segment.raw_size,
                segment.rows,
                segment.digest,
                segment.base_part,
            ]
            for segment in segments
        ],
    }
    return compress(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace"))


def decode_segments(data: bytes, *, packs: Mapping[str, int], has_base: bool) -> SegmentTable:
    """Return the table that ``data`` is; raise FieldError unless every segment lies inside one of ``packs`` (by size),
    and, where there is no base, needs none."""
    try:
        fields = parse_object(decompress(data, limit=MAX_SEGMENTS_TEXT))
    except CodecError as error:
        raise FieldError(str(error)) from error
    if fields.count("format") != FORMAT or fields.items("columns") != _COLUMNS:
        raise FieldError(_("format or columns are not known to this version"))
    series = tuple(_series(item) for item in fields.items("series"))
    if len({one.key for one in series}) != len(series):
        raise FieldError(_("a series is listed twice"))
    segments = tuple(_segment(item) for item in fields.items("segments"))
    for segment in segments:
        _check(segment, series=len(series), packs=packs, has_base=has_base)
    if len({(segment.series, segment.part) for segment in segments}) != len(segments):
        raise FieldError(_("a segment is listed twice"))
    return SegmentTable(series=series, segments=segments)


def _series(item: Json) -> Series:
    values = as_list(item, _("a series"))
    if len(values) != 3:
        raise FieldError(_("a series has three values"))
    key, head, tail = (as_text(value, _("a series")) for value in values)
    return Series(key=key, head=head, tail=tail)


def _segment(item: Json) -> Segment:
    values = as_list(item, _("a segment"))
    if len(values) != len(_COLUMNS):
        raise FieldError(_("a segment has other columns"))
    row = Fields(dict(zip(_COLUMNS, values, strict=True)))
    kind = _KINDS.get(row.text("kind"))
    if kind is None:
        raise FieldError(_("a segment is of no known kind"))
    return Segment(
        series=as_count(values[0], "series"),
        part=row.text("part"),
        kind=kind,
        pack=row.text("pack"),
        offset=row.count("offset"),
        length=row.count("length"),
        raw_size=row.count("raw_size"),
        rows=row.count("rows"),
        digest=row.text("blake3"),
        base_part=row.text("base_part"),
    )


def _check(segment: Segment, *, series: int, packs: Mapping[str, int], has_base: bool) -> None:
    if segment.series >= series:
        raise FieldError(_("a segment is of no series"))
    if not is_digest(segment.digest):
        raise FieldError(_("a segment's digest is none"))
    if segment.kind == "ref":
        if segment.pack or segment.offset or segment.length:
            raise FieldError(_("a ref lies in no pack"))
    elif segment.offset + segment.length > packs.get(segment.pack, -1):
        raise FieldError(_("a segment lies outside its pack"))
    if segment.kind != "frame" and not has_base:
        raise FieldError(_("a full has frames only"))
    if segment.kind == "delta" and segment.raw_size > MAX_DELTA_TEXT:
        raise FieldError(_("a delta is too large"))
