"""What a notebook shows of a result: its table and its figure, as HTML that stands by itself.

The figure is an SVG image within the page (a data address), so that nothing is fetched, no name in it meets
another of the page, and a notebook that is not trusted shows it too.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from core.lab.study import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def table_html(table: Table) -> str:
    """A table with its caption below; all text is escaped."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(c)}</th>' for c in table.columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(c)}</td>' for c in row) + "</tr>" for row in table.rows
    )
    caption = f'<caption style="caption-side:bottom;text-align:left">{escape(table.caption)}</caption>'
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_CELL = "text-align:left;vertical-align:top;padding:0.1em 0.8em 0.1em 0"


def figure_html(figure: Figure, alt: str) -> str:
    """A figure as an image in SVG.

    Args:
        figure: is saved in the style of vhat's figures.
        alt: what it shows, for those who do not see it.
    """
    from core.lab.figures import save_svg

    drawn = io.BytesIO()
    save_svg(figure, drawn)
    data = base64.b64encode(drawn.getvalue()).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}" style="max-width:100%">'


def shown(table: Table, figure: Figure, alt: str, remarks: Sequence[str] = ()) -> str:
    """A table, remarks below it, and a figure."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in remarks)
    return f"<div>{table_html(table)}{lines}{figure_html(figure, alt)}</div>"
