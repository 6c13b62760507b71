"""The plot: a panel for each comparison, a bar for each peer; dots where only a logarithmic scale shows them all."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Comparison, Samples
from benchmarks.peers import PEERS

OURS, OTHERS, INK, GUIDE = "#2f6fb3", "#9aa1ab", "#30343b", "#e6e8eb"


def draw(comparisons: list[Comparison], path: Path) -> None:
    """Draws the comparisons into a PNG file; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 2
    rows = -(-len(comparisons) // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(13, 3.1 * rows), squeeze=False, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    panels = list(grid.flat)
    for panel, comparison in zip(panels, comparisons, strict=False):
        _panel(panel, comparison)
    for panel in panels[len(comparisons) :]:
        panel.set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(panel: object, comparison: Comparison) -> None:
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    shown = [(name, found) for name, found in comparison.peers.items() if isinstance(found, Samples)]
    values = [found.median for _, found in shown]
    logarithmic = bool(values) and max(values) > 20 * min(values)
    for place, (name, found) in enumerate(shown):
        colour = OURS if name == "ours" else OTHERS
        if logarithmic:  # there a bar's length would mean nothing
            panel.axhline(place, color=GUIDE, linewidth=0.8, zorder=0)
            panel.plot(found.median, place, "o", color=colour, markersize=10)
        else:
            panel.barh(place, found.median, color=colour, height=0.66)
        if found.low != found.high:
            panel.plot([found.low, found.high], [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
        text = f"   {comparison.pattern.format(found.median)} {comparison.unit}"
        panel.text(found.high, place, text, va="center", ha="left", fontsize=9.5, color=INK)
    panel.set_yticks(range(len(shown)), [PEERS[name] for name, _ in shown], fontsize=9.5, color=INK)
    panel.set_ylim(len(shown) - 0.4, -0.6)
    if logarithmic:
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_xlim(min(values) / 3, max(found.high for _, found in shown) * 6)
    elif shown:
        panel.set_xlim(0, max(found.high for _, found in shown) * 1.25)
    panel.set_xlabel(f"{comparison.unit}{', logarithmic' if logarithmic else ''}", fontsize=9, color=INK)
    panel.set_title(comparison.title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    panel.tick_params(axis="x", labelsize=8.5, colors=INK)
    panel.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
