"""A session's timeline as a picture: an SVG that needs nothing but itself.

Pure. The session's phases stand on top, one row a host below; a long stretch in which nothing happens is cut short,
and says how long it was, so that a launch of a second is still seen in a run of hours.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Iterator

from roujiamo.session.timeline import HostLine, Span, Timeline

WIDTH = 1060
LABELS = 110
RIGHT = 20
TOP = 96
ROW = 18
# Above so many hosts rows get thinner, and then lose their names.
FULL_ROWS = 64
MOST_HEIGHT = 6000

# A stretch without a moment that takes more than this share of the whole is cut to so much of the picture's width.
CUT_ABOVE = 0.35
CUT_TO = 0.08
SHORTEST_CUT_SECONDS = 4.0

_COLOURS = {
    "offer held": "#d9d9d9",
    "Mesos starts the task": "#f6c667",
    "the task starts": "#7fb3d5",
    "the proxy starts": "#2e86c1",
    "host is there": "#e8f6ef",
}
_COMMAND = "#27ae60"
_PHASES = ("#34495e", "#5d6d7e")


class _Scale:
    """Seconds since the start to the picture's x; `cuts` are the stretches that were cut short."""

    def __init__(self, timeline: Timeline) -> None:
        self._left, self._right = LABELS, WIDTH - RIGHT
        times = sorted(set(_times(timeline)))
        whole = max(timeline.end - timeline.start, 1e-6)
        gaps = [(high - low, low, high) for low, high in itertools.pairwise(times)]
        self.cuts = sorted(
            (low, high) for gap, low, high in gaps if gap > max(CUT_ABOVE * whole, SHORTEST_CUT_SECONDS)
        )
        self._start, self._end = timeline.start, timeline.end
        shown = whole - sum(high - low for low, high in self.cuts)
        room = (self._right - self._left) * (1 - CUT_TO * len(self.cuts))
        self.per_second = room / max(shown, 1e-6)

    def x(self, at: float) -> float:
        """Return the x of a moment."""
        seconds, cut_width = at - self._start, 0.0
        for low, high in self.cuts:
            if at > low:
                share = min(1.0, (at - low) / (high - low))
                seconds -= min(at, high) - low
                cut_width += share * CUT_TO * (self._right - self._left)
        return self._left + seconds * self.per_second + cut_width

    def ticks(self) -> Iterator[float]:
        """The moments to mark on the axis: round seconds, at least some 70 pixels apart."""
        step = _round_step(70 / self.per_second)
        last = -math.inf
        for number in range(math.ceil((self._end - self._start) / step) + 1):
            at = self._start + number * step
            if any(low < at < high for low, high in self.cuts) or at > self._end:
                continue
            if self.x(at) - last >= 45:
                last = self.x(at)
                yield at
            if number > 100_000:
                return


def as_svg(timeline: Timeline, title: str) -> str:
    """Return the timeline as an SVG document."""
    scale = _Scale(timeline)
    lines = timeline.hosts
    row = ROW if len(lines) <= FULL_ROWS else max(2.0, min(ROW, MOST_HEIGHT / max(len(lines), 1)))
    bottom = TOP + row * len(lines)
    height = math.ceil(bottom + 46)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="11">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" fill="#222222">{_escape(title)}</text>',
    ]
    parts += _axis(timeline, scale, bottom)
    parts += _phases(timeline.phases, scale)
    for number, line in enumerate(lines):
        parts += _host(line, TOP + number * row, row, scale)
    parts += _cuts(scale, bottom)
    parts += _legend(bottom + 32)
    return "\n".join([*parts, "</svg>", ""])


def _escape(text: str) -> str:
    """Return the text as XML may hold it: that has no control characters (XML 1.0, 2.2), however they are written."""
    return html.escape("".join(each if each.isprintable() else " " for each in text))


def _times(timeline: Timeline) -> Iterator[float]:
    yield timeline.start
    yield timeline.end
    for span in timeline.phases:
        yield from (span.start, span.end)
    for line in timeline.hosts:
        yield from line.moments.values()
        for span in line.commands:
            yield from (span.start, span.end)


def _axis(timeline: Timeline, scale: _Scale, bottom: float) -> Iterator[str]:
    for at in scale.ticks():
        x = scale.x(at)
        yield f'<line x1="{x:.1f}" y1="{TOP - 14}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#eeeeee"/>'
        yield (
            f'<text x="{x:.1f}" y="{TOP - 18}" text-anchor="middle" fill="#777777">'
            f"{at - timeline.start:.4g} s</text>"
        )


def _phases(phases: Iterable[Span], scale: _Scale) -> Iterator[str]:
    y, height = 36, 22
    for number, span in enumerate(phases):
        x, width = scale.x(span.start), scale.x(span.end) - scale.x(span.start)
        told = f"{span.name}: {duration(span.end - span.start)}"
        yield (
            f'<rect x="{x:.1f}" y="{y}" width="{max(width, 0.5):.1f}" height="{height}" '
            f'fill="{_PHASES[number % 2]}"><title>{_escape(told)}</title></rect>'
        )
        # About six pixels a letter; what does not fit is told by the title.
        for text in (told, span.name):
            if width > 6.0 * len(text) + 6:
                yield f'<text x="{x + 5:.1f}" y="{y + 15}" fill="#ffffff">{_escape(text)}</text>'
                break


def _host(line: HostLine, y: float, row: float, scale: _Scale) -> Iterator[str]:
    bar = row * 0.8
    if row >= 9:
        yield (
            f'<text x="{LABELS - 8}" y="{y + bar * 0.75:.1f}" text-anchor="end" fill="#222222">'
            f"{_escape(line.name if len(line.name) <= 16 else line.name[:15] + '…')}</text>"
        )
    for span in line.spans:
        yield _bar(span, y, bar, _COLOURS[span.name], f"{line.name}: {span.name}", scale)
    for span in line.commands:
        told = f"{line.name}: {span.name[:160]}"
        yield _bar(span, y + bar * 0.2, bar * 0.6, _COMMAND, told, scale, opacity=0.75)


def _bar(
    span: Span, y: float, height: float, colour: str, told: str, scale: _Scale, opacity: float = 1.0
) -> str:
    x, width = scale.x(span.start), max(scale.x(span.end) - scale.x(span.start), 0.5)
    told = f"{told} ({duration(span.end - span.start)})"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"'
        + (f' fill-opacity="{opacity}"' if opacity < 1 else "")
        + f"><title>{_escape(told)}</title></rect>"
    )


def _cuts(scale: _Scale, bottom: float) -> Iterator[str]:
    for low, high in scale.cuts:
        x, width = scale.x(low), scale.x(high) - scale.x(low)
        yield (
            f'<rect x="{x:.1f}" y="{TOP - 12}" width="{width:.1f}" height="{bottom - TOP + 16:.1f}" fill="#ffffff" '
            'fill-opacity="0.85" stroke="#bbbbbb" stroke-dasharray="3 3"/>'
        )
        yield (
            f'<text x="{x + width / 2:.1f}" y="{TOP + 4}" text-anchor="middle" fill="#555555">'
            f"⋯ {duration(high - low)} ⋯</text>"
        )


def _legend(y: float) -> Iterator[str]:
    x = float(LABELS)
    for name, colour in [*_COLOURS.items(), ("remote command", _COMMAND)]:
        yield (
            f'<rect x="{x:.0f}" y="{y - 9:.1f}" width="12" height="10" fill="{colour}" stroke="#aaaaaa" '
            'stroke-width="0.5"/>'
        )
        yield f'<text x="{x + 17:.0f}" y="{y:.1f}" fill="#333333">{_escape(name)}</text>'
        x += 34 + 6.2 * len(name)


def _round_step(seconds: float) -> float:
    """Return the next larger of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(seconds))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= seconds * 0.999)


def duration(seconds: float) -> str:
    """Return "12 ms", "1.52 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
