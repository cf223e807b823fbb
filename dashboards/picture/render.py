#!/usr/bin/env python3
"""Draws a Grafana board as an SVG picture, from what a running Prometheus answers to the board's own queries.

It is no Grafana: it knows the two kinds of panels that our boards use, `stat` and `timeseries`, and their units.
Nothing but Python's own library is needed.

    render.py http://127.0.0.1:9090 dashboards/grafana/operator.json board.svg [--minutes 5]

A query that Prometheus refuses ends the program; a panel without data says so in the picture.
"""

import argparse
import html
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

COLUMN, ROW, GAP, MARGIN = 48, 34, 8, 16  # A board has 24 columns.
TITLE = 56
POINTS = 120
COLOURS = ["#3b7dd8", "#d9822b", "#2f9e63", "#c2413b", "#8a5fc7", "#b08d1e", "#2a9aa8", "#c65a94", "#6b7785", "#7a9a2e"]


def ask(base, path, **parameters):
    """One answer of Prometheus's HTTP API."""
    address = f"{base}{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as refusal:
        sys.exit(f"Prometheus refuses {parameters.get('query')}: {refusal.read().decode()}")


def amount(value, unit):
    """A number with its unit, as short as it stays true to a glance."""
    if value is None or math.isnan(value):
        return "–"
    if unit in ("s", "ms"):
        seconds = value / 1000 if unit == "ms" else value
        for size, word in ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(seconds) >= size:
                return f"{seconds / size:.3g} {word}"
        return "0 s" if seconds == 0 else f"{seconds:.1e} s"
    if unit == "bytes":
        for size, word in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if abs(value) >= size:
                return f"{value / size:.3g} {word}"
        return f"{value:.0f} B"
    tail = {"ops": " /s", "reqps": " /s", "percentunit": ""}.get(unit, "")
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    for size, word in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if word == ' k' else size):.3g}{word}{tail}"
    return f"{value:.3g}{tail}"


def label(pattern, metric):
    """A legend with its `{{label}}`s filled in."""
    for name, value in metric.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    return pattern or ", ".join(metric.values()) or "value"


def text(x, y, words, size=11, fill="#3c4650", anchor="start", weight="400"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{html.escape(words)}</text>'
    )


def threshold(panel, value):
    """The colour that the board gives to a value."""
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    colour = "text"
    for step in steps:
        if step.get("value") is None or (value is not None and value >= step["value"]):
            colour = step["color"]
    known = {"green": "#2f9e63", "red": "#c2413b", "orange": "#d9822b", "yellow": "#b08d1e", "text": "#26303a"}
    return known.get(colour, colour)


def stat(panel, base, end, x, y, width, height):
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    found = ask(base, "/api/v1/query", query=panel["targets"][0]["expr"], time=end)
    value = float(found[0]["value"][1]) if found else None
    mapped = next(
        (
            mapping["options"][str(int(value))]["text"]
            for mapping in panel["fieldConfig"]["defaults"].get("mappings", [])
            if value is not None and mapping["type"] == "value" and str(int(value)) in mapping["options"]
        ),
        None,
    )
    words = mapped or amount(value, unit)
    return [text(x + width / 2, y + height / 2 + 26, words, 34, threshold(panel, value), "middle", "600")]


def nice(top):
    """The next round number."""
    if top <= 0 or math.isnan(top):
        return 1.0
    size = 10 ** math.floor(math.log10(top))
    return next(step * size for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if top <= step * size * 1.0001)


def timeseries(panel, base, end, minutes, x, y, width, height):
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    start, step = end - minutes * 60, minutes * 60 / POINTS
    lines = []
    for target in panel["targets"]:
        for found in ask(base, "/api/v1/query_range", query=target["expr"], start=start, end=end, step=step):
            points = [(at, float(value)) for at, value in found["values"]]
            points = [(at, value) for at, value in points if not math.isnan(value) and not math.isinf(value)]
            if points:
                lines.append((label(target.get("legendFormat", ""), found["metric"]), points))
    left, top, right, bottom = x + 58, y + 34, x + width - 12, y + height - 40
    if not lines:
        return [text((left + right) / 2, (top + bottom) / 2, "no data in this time", 12, "#8a949e", "middle")]
    ceiling = nice(max(value for _, points in lines for _, value in points))
    floor = min(0.0, min(value for _, points in lines for _, value in points))
    drawn = []
    for n in range(5):
        value = floor + (ceiling - floor) * n / 4
        at = bottom - (bottom - top) * n / 4
        drawn.append(f'<line x1="{left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#e6eaee"/>')
        drawn.append(text(left - 6, at + 3.5, amount(value, unit), 10, "#7a858f", "end"))
    for n in range(5):
        at = start + (end - start) * n / 4
        where = left + (right - left) * n / 4
        drawn.append(text(where, bottom + 14, time.strftime("%H:%M:%S", time.gmtime(at)), 10, "#7a858f", "middle"))
    for n, (_, points) in enumerate(lines):
        places = " ".join(
            f"{left + (right - left) * (at - start) / (end - start):.1f},"
            f"{bottom - (bottom - top) * (value - floor) / (ceiling - floor):.1f}"
            for at, value in points
        )
        drawn.append(
            f'<polyline points="{places}" fill="none" stroke="{COLOURS[n % len(COLOURS)]}" stroke-width="1.6" '
            f'stroke-linejoin="round"/>'
        )
    return drawn + names([name for name, _ in lines], left, right, bottom)


def names(lines, left, right, bottom):
    """The legend; what has no room in it is counted."""
    drawn, at = [], left
    for n, name in enumerate(lines):
        words = name if len(name) <= 34 else name[:33] + "…"
        needed = 18 + 6.0 * len(words)
        if at + needed > right:
            return drawn + [text(at, bottom + 31, f"and {len(lines) - n} more", 10, "#7a858f")]
        colour = COLOURS[n % len(COLOURS)]
        drawn.append(f'<rect x="{at:.1f}" y="{bottom + 23}" width="10" height="4" fill="{colour}"/>')
        drawn.append(text(at + 14, bottom + 31, words, 10))
        at += needed
    return drawn


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prometheus")
    parser.add_argument("board")
    parser.add_argument("picture")
    parser.add_argument("--minutes", type=float, default=5)
    given = parser.parse_args()
    with open(given.board, encoding="utf-8") as file:
        board = json.load(file)
    end = time.time()
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    width, height = 24 * COLUMN + 2 * MARGIN, rows * ROW + TITLE + MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="{html.escape(board["title"])}">',
        f'<rect width="{width}" height="{height}" fill="#f3f5f7"/>',
        text(MARGIN + 4, 36, board["title"], 20, "#1d262e", weight="600"),
        text(width - MARGIN, 36, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(end)), 12, "#7a858f", "end"),
    ]
    for panel in board["panels"]:
        place = panel["gridPos"]
        x, y = MARGIN + place["x"] * COLUMN, TITLE + place["y"] * ROW
        w, h = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        drawn.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="4" fill="#ffffff" stroke="#dfe4e8"/>')
        room = (w - 16) / max(1, len(panel["title"]))
        drawn.append(text(x + 12, y + 20, panel["title"], min(12.5, room * 1.7), "#26303a", weight="600"))
        if panel["type"] == "stat":
            drawn += stat(panel, given.prometheus, end, x, y, w, h)
        elif panel["type"] == "timeseries":
            drawn += timeseries(panel, given.prometheus, end, given.minutes, x, y, w, h)
        else:
            sys.exit(f"a panel of type {panel['type']} is not drawn here")
    drawn.append("</svg>")
    with open(given.picture, "w", encoding="utf-8") as file:
        file.write("\n".join(drawn) + "\n")


if __name__ == "__main__":
    main()
