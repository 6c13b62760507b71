"""The plot: one panel per comparison, one bar per peer.

A panel whose values differ too much for a linear scale has dots on a logarithmic one instead.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.measurements import Comparison, Samples
from benchmarks.peers import PEERS

OURS, OTHERS, INK, GUIDE = "#2f6fb3", "#9aa1ab", "#30343b", "#e6e8eb"
COLUMNS = 2
MAX_LINEAR_RATIO = 20
"""The ratio of the largest to the smallest value above which a panel is logarithmic."""


def draw(comparisons: list[Comparison], path: Path) -> None:
    """Draws the comparisons into a PNG file. Needs matplotlib."""
    import matplotlib  # here, because only the environment of `make bench` has it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(comparisons) // COLUMNS)
    figure, grid = pyplot.subplots(rows, COLUMNS, figsize=(13, 3.1 * rows), squeeze=False, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    panels = list(grid.flat)
    for panel, comparison in zip(panels, comparisons, strict=False):
        _draw_panel(panel, comparison)
    for panel in panels[len(comparisons) :]:
        panel.set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_panel(panel: object, comparison: Comparison) -> None:
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    bars = [(name, samples) for name, samples in comparison.peers.items() if isinstance(samples, Samples)]
    medians = [samples.median for _, samples in bars]
    logarithmic = bool(medians) and max(medians) > MAX_LINEAR_RATIO * min(medians)
    for position, (name, samples) in enumerate(bars):
        colour = OURS if name == "ours" else OTHERS
        if logarithmic:  # dots, because the length of a bar means nothing on a logarithmic scale
            panel.axhline(position, color=GUIDE, linewidth=0.8, zorder=0)
            panel.plot(samples.median, position, "o", color=colour, markersize=10)
        else:
            panel.barh(position, samples.median, color=colour, height=0.66)
        if samples.low != samples.high:
            panel.plot([samples.low, samples.high], [position] * 2, color=INK, linewidth=1.2, solid_capstyle="butt")
        text = f"   {comparison.pattern.format(samples.median)} {comparison.unit}"
        panel.text(samples.high, position, text, va="center", ha="left", fontsize=9.5, color=INK)
    panel.set_yticks(range(len(bars)), [PEERS[name] for name, _ in bars], fontsize=9.5, color=INK)
    panel.set_ylim(len(bars) - 0.4, -0.6)
    if logarithmic:
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_xlim(min(medians) / 3, max(samples.high for _, samples in bars) * 6)
    elif bars:
        panel.set_xlim(0, max(samples.high for _, samples in bars) * 1.25)
    panel.set_xlabel(f"{comparison.unit}{', logarithmic' if logarithmic else ''}", fontsize=9, color=INK)
    panel.set_title(comparison.title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    panel.tick_params(axis="x", labelsize=8.5, colors=INK)
    panel.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
