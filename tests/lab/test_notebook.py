"""What a notebook shows is well-formed, escaped, complete, and stands by itself; data frames hold what it
shows."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.lab.compare import Comparison, compare
from core.lab.modules import problem_from
from core.lab.notebook import table_html
from core.lab.random import Keys
from core.lab.study import Table
from core.lab.tune import METHODS, Tuned, tune
from core.lab.variant import Variant
from tests.lab.bowls import Bowl

EVIL = "<script>alert('x')</script> & \"friends\""
VOID = {"img", "br", "hr", "meta"}


class Page(HTMLParser):
    """Reads strictly: every tag is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str]] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append({k: v or "" for k, v in attrs})
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def drawn(page: Page) -> ET.Element:
    """The one image, as SVG."""
    (image,) = page.images
    head, _, data = image["src"].partition(",")
    assert head == "data:image/svg+xml;base64"
    assert len(image["alt"]) > 40
    return ET.fromstring(base64.b64decode(data))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(Bowl(), [Variant(EVIL, "sgd"), "adam"], steps=20, seeds=4, tuning_seeds=2)


@pytest.fixture(scope="module")
def tuned() -> dict[str, Tuned]:
    return {m: tune(smooth(), "adam", steps=10, over=["lr", "beta1"], method=m, budget=24) for m in METHODS}


def smooth() -> object:
    x = torch.linspace(-1, 1, 16)[:, None]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (out - y).square().mean()

    return problem_from(nn.Linear(1, 1), loss, (x, 2 * x))


def test_a_comparison_shows_its_table_and_figure(comparison: Comparison) -> None:
    html = comparison._repr_html_()
    page = Page(html)
    assert "script" not in page.tags
    assert "http" not in html.replace("http://www.w3.org", "")
    table = comparison.table
    assert page.cells == [*table.columns, *(cell for row in table.rows for cell in row)]
    assert table.caption in page.text
    assert drawn(page).tag.endswith("svg")
    assert EVIL in page.images[0]["alt"]
    assert repr(comparison) == str(comparison)


@pytest.mark.parametrize("method", METHODS)
def test_a_tuned_setting_shows_its_table_remarks_and_figure(method: str, tuned: dict[str, Tuned]) -> None:
    found = tuned[method]
    page = Page(found._repr_html_())
    assert method in page.cells
    assert all(warning in page.text for warning in found.warnings)
    assert drawn(page).tag.endswith("svg")
    assert repr(found) == str(found)


def test_a_comparison_in_which_all_diverged_is_shown() -> None:
    found = compare(Bowl(noise=1e30), ["sgd"], steps=3, lr=(1e30, 1e32), seeds=3, tuning_seeds=2)
    assert not np.isfinite(found.result.values("own problem", "sgd")).any()
    assert drawn(Page(found._repr_html_())).tag.endswith("svg")


def test_nothing_of_a_table_is_taken_for_markup() -> None:
    page = Page(table_html(Table(EVIL, (EVIL, "b"), ((EVIL, "<td>"),))))
    assert page.cells == [EVIL, "b", EVIL, "<td>"]
    assert EVIL in page.text
    assert "script" not in page.tags


def test_the_comparison_s_frame_holds_its_objective_and_curves(comparison: Comparison) -> None:
    frame = comparison.to_pandas()
    for name in comparison.result.variants:
        mine = frame[(frame["variant"] == name) & (frame["stage"] == "reporting")]
        objective = mine[mine["quantity"] == "objective"].sort_values("seed")["value"].to_numpy()
        assert np.array_equal(objective, comparison.result.values("own problem", name))
        run = comparison.result.run("own problem", name)
        curves = mine[mine["quantity"] == "loss"].pivot(index="seed", columns="step", values="value")
        assert np.array_equal(curves.to_numpy(), run.curves["loss"].astype(np.float64))
        assert curves.columns.to_list() == run.steps.tolist()
        assert set(mine["lr"]) == {comparison.best(name)["lr"]}
        tuned = comparison.result.tuned["own problem", name]
        tried = frame[(frame["variant"] == name) & (frame["stage"] == "tuning")]
        assert np.array_equal(tried["value"].to_numpy().reshape(tuned.losses.shape), tuned.losses)


@pytest.mark.parametrize("method", METHODS)
def test_the_search_s_frame_holds_every_setting_tried(method: str, tuned: dict[str, Tuned]) -> None:
    found = tuned[method]
    frame = found.to_pandas()
    assert len(frame) == found.path.losses.numel()
    best = frame.loc[frame["loss"].idxmin()]
    assert best["loss"] == found.loss
    assert {n: best[n] for n in ("lr", "beta1")} == {n: found.best[n] for n in ("lr", "beta1")}
    assert frame["cost"].max() == found.cost
    assert (frame["cost"].diff().dropna() >= 0).all()


def test_methods_that_show_results_change_no_digest() -> None:
    import ast

    from core.lab.fingerprint import _strip

    bare = "class A:\n    x = 1\n"
    shown = bare + "".join(
        f"    def {name}(self):\n        return 1\n" for name in ("to_pandas", "_repr_html_", "all_sweeps")
    )
    other = bare + "    def result(self):\n        return 1\n"
    texts = [_strip(ast.parse(t), frozenset()) for t in (bare, shown, other)]
    assert texts[0] == texts[1] != texts[2]


def test_keys_of_a_frame_are_those_of_the_seeds() -> None:
    """Seed s of a frame is the s-th reporting seed: its first loss is that of the problem's own start."""
    frame = compare(Bowl(), ["sgd"], steps=2, seeds=3, tuning_seeds=2).to_pandas()
    first = frame[(frame["quantity"] == "loss") & (frame["step"] == 0)].sort_values("seed")["value"]
    keys = Keys.of(range(3), study="compare/report")
    assert np.array_equal(first.to_numpy(), Bowl().measure(Bowl().init(keys), keys)["loss"].double().numpy())
