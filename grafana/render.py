#!/usr/bin/env python3
"""Draws what the dashboard's panels got from Prometheus, as saved by tests/monitoring/check.py,
into a PNG.

    python3 -m venv target/render && target/render/bin/pip install -r grafana/requirements.txt
    python3 tests/monitoring/check.py --seconds 90 --save target/panels.json
    target/render/bin/python grafana/render.py target/panels.json docs/dashboard.png
"""

import json
import re
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import EngFormatter, PercentFormatter
from PIL import Image

SHOWN = [
    "Request Rate", "Request Duration", "Status Code Distribution", "Error Ratio",
    "Overhead of the Gateway", "Stage Breakdown", "Time to First Token", "Tokens per Second of a Stream",
    "Token Usage by Model and Type", "Tokens by Key", "Attempts by Outcome", "Provider Latency p95",
    "As It Came or Translated", "Losses by Field", "Refused", "Processor",
]
ACROSS = 4
UNITS = {"s": EngFormatter("s", sep=""), "reqps": EngFormatter("/s", sep=""), "percentunit": PercentFormatter(1, 0),
         "bytes": EngFormatter("B", sep=""), "Bps": EngFormatter("B/s", sep=""), "short": EngFormatter(sep="")}
BACK, INK = "#181b1f", "#ccccdc"


def legend(series):
    return re.sub(r"{{(\w+)}}", lambda label: series["labels"].get(label[1], ""), series["legend"])


def lines(axes, panel, start):
    for series in panel["series"]:
        points = [(float(at) - start, float(value)) for at, value in series["values"]]
        axes.plot(*zip(*points), linewidth=1.2, label=legend(series))


def stacked(axes, panel, start):
    times = sorted({at for series in panel["series"] for at, _ in series["values"]})
    values = [[float(dict(series["values"]).get(at, 0)) for at in times] for series in panel["series"]]
    axes.stackplot([at - start for at in times], values, labels=[legend(series) for series in panel["series"]])


def last(panel, most=8):
    found = [(legend(series), float(series["values"][-1][1])) for series in panel["series"]]
    return sorted(found, key=lambda pair: -pair[1])[:most]


def draw(axes, panel, start):
    axes.set_title(panel["title"], fontsize=9, color=INK, loc="left")
    axes.set_facecolor(BACK)
    axes.tick_params(colors=INK, labelsize=6)
    for side in axes.spines.values():
        side.set_color("#34383f")
    if panel["type"] == "piechart":
        names, sizes = zip(*last(panel))
        axes.pie(sizes, labels=names, textprops={"color": INK, "fontsize": 6}, wedgeprops={"width": 0.45})
        return
    if panel["type"] == "bargauge":
        names, sizes = zip(*reversed(last(panel)))
        axes.barh(names, sizes, color="#3b6bb0")
        # Inside: names of fields are longer than the space beside the picture.
        axes.set_yticks([])
        for at, name in enumerate(names):
            axes.text(0, at, f" {name}", color=INK, fontsize=6, va="center")
        axes.xaxis.set_major_formatter(UNITS.get(panel["unit"], UNITS["short"]))
        return
    (stacked if panel["title"] == "Stage Breakdown" else lines)(axes, panel, start)
    # Room for the legend.
    axes.set_ylim(0, axes.get_ylim()[1] * 1.4)
    axes.grid(color="#34383f", linewidth=0.4)
    axes.yaxis.set_major_formatter(UNITS.get(panel["unit"], UNITS["short"]))
    axes.xaxis.set_major_formatter(EngFormatter("s", sep=""))
    axes.legend(fontsize=5, ncols=2, labelcolor=INK, facecolor=BACK, edgecolor="none", framealpha=0.6, loc="upper left")


def main(source, target):
    with open(source) as file:
        saved = json.load(file)
    panels = {panel["title"]: panel for panel in saved["panels"] if panel.get("series")}
    missing = [title for title in SHOWN if title not in panels]
    if missing:
        sys.exit(f"{source} has nothing for: {', '.join(missing)}")
    figure, grid = pyplot.subplots(len(SHOWN) // ACROSS, ACROSS, figsize=(14, 10), facecolor="#111217")
    for axes, title in zip(grid.flat, SHOWN):
        draw(axes, panels[title], saved["start"])
    figure.suptitle("LLM API Proxy Dashboard: a load test of a debug build, drawn from Prometheus's answers", color=INK, fontsize=11)
    figure.subplots_adjust(left=0.035, right=0.99, top=0.93, bottom=0.03, wspace=0.2, hspace=0.3)
    figure.savefig(target, dpi=80, facecolor=figure.get_facecolor())
    # It is to live in a repository.
    Image.open(target).convert("RGB").quantize(48).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
