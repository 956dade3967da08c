"""Draws the plot of docs/benchmarks.md: JSON on stdin, the SVG's path as argument.

A panel for each row: bars of seconds, with the least and the most as a line. It is the same file for the same figures.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

_COLUMNS = 3
_OURS, _PEER, _LIMIT = "#1b6e53", "#9aa5b1", "#dfe3e8"


def draw(panels: list[dict[str, Any]], path: str) -> None:
    mpl.rcParams.update({"svg.hashsalt": "waypost", "svg.fonttype": "none", "font.size": 8})
    rows = -(-len(panels) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(12, 2.9 * rows), squeeze=False, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=False):
        bars = panel["bars"]
        middle = [bar["median"] for bar in bars]
        spread = [[bar["median"] - bar["least"] for bar in bars], [bar["most"] - bar["median"] for bar in bars]]
        colors = [_OURS if bar["ours"] else _LIMIT if bar["limit"] else _PEER for bar in bars]
        axis.barh([bar["name"] for bar in bars], middle, xerr=spread, color=colors, error_kw={"linewidth": 0.8})
        axis.invert_yaxis()
        axis.set_title(panel["title"], loc="left", fontsize=9)
        axis.set_xlabel("seconds")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    draw(json.load(sys.stdin), sys.argv[1])
