"""Draws the plots of docs/benchmarks.md: JSON on stdin, a kind and the SVG's path as arguments.

`bars`: a panel for each row, bars of seconds, with the least and the most as a line. `curves`: what grows with a
number, both axes logarithmic, beside a dotted line that grows as the number does. It is the same file for the same
figures.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

_COLUMNS = 3
_OURS, _PEER, _LIMIT = "#1b6e53", "#9aa5b1", "#dfe3e8"


def bars(panels: list[dict[str, Any]], path: str) -> None:
    rows = -(-len(panels) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(12, 2.9 * rows), squeeze=False, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=False):
        drawn = panel["bars"]
        middle = [bar["median"] for bar in drawn]
        spread = [[bar["median"] - bar["least"] for bar in drawn], [bar["most"] - bar["median"] for bar in drawn]]
        colors = [_OURS if bar["ours"] else _LIMIT if bar["limit"] else _PEER for bar in drawn]
        axis.barh([bar["name"] for bar in drawn], middle, xerr=spread, color=colors, error_kw={"linewidth": 0.8})
        axis.invert_yaxis()
        axis.set_title(panel["title"], loc="left", fontsize=9)
        axis.set_xlabel("seconds")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    _save(figure, path)


def curves(panels: list[dict[str, Any]], path: str) -> None:
    rows = -(-len(panels) // 2)
    figure, axes = pyplot.subplots(rows, 2, figsize=(10, 3.2 * rows), squeeze=False, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=False):
        counts, middle = panel["counts"], panel["median"]
        spread = [
            [middle[at] - least for at, least in enumerate(panel["least"])],
            [most - middle[at] for at, most in enumerate(panel["most"])],
        ]
        axis.errorbar(counts, middle, yerr=spread, color=_OURS, marker="o", markersize=4, capsize=3, label="Waypost")
        linear = [middle[-1] * count / counts[-1] for count in counts]
        axis.plot(counts, linear, color=_PEER, linestyle=":", label="as the number grows")
        for count, value in zip(counts, middle, strict=True):
            place = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 7}
            axis.annotate(f"{value:.3g}", (count, value), **place)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(min(middle) / 4, max(middle) * 3)
        axis.set_title(panel["title"], loc="left", fontsize=9)
        axis.set_xlabel(panel["x"])
        axis.set_ylabel(panel["y"])
        axis.legend(loc="lower right", frameon=False, fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    _save(figure, path)


def _save(figure: Any, path: str) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "waypost", "svg.fonttype": "none", "font.size": 8})
    {"bars": bars, "curves": curves}[sys.argv[1]](json.load(sys.stdin), sys.argv[2])
