"""The figures of a leaderboard: each drawn from the board's numbers, named, described, and printed as a table."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from federation_hub.leaderboards.figures import figures_view
from federation_hub.leaderboards.reading import read_board
from federation_hub.web.figures import RankRow, blob_plot, significance_grid
from tests.hub.boards import board, entry
from tests.hub.federation import Federation
from tests.hub.test_leaderboard_service import standing

SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup: str) -> ET.Element:
    return ET.fromstring(markup)


def test_the_page_has_every_figure_with_its_numbers(filled: Federation) -> None:
    """Blob plot, significance grid, rank stability, and for the leaders forest plot, ROC and calibration."""
    client = filled.app.test_client()
    page = client.get("/benchmarks/chest_phantom/figures").text
    for anchor in ("blob", "significance", "stability", "forest-1", "forest-2", "forest-3"):
        assert f'id="{anchor}"' in page
    assert re.search(r'id="roc-[0-9a-f]{8}-opacity"', page)
    assert client.get(f"/snapshots/{standing(filled).digest}/figures").text.count("<caption>") == page.count(
        "<caption>"
    )
    assert 'figures">Figures</a>' in client.get("/benchmarks/chest_phantom").text


def test_figures_of_a_superseded_board_say_so(filled: Federation) -> None:
    """They stay as they were, under their own address."""
    from sqlalchemy import select

    from federation_hub.leaderboards.tables import Snapshot

    with filled.services.database.reading() as session:
        earlier = session.scalars(select(Snapshot).where(Snapshot.superseded_by.is_not(None))).all()
    ranked = [row.digest for row in earlier if read_board(row.body).ranked]
    assert "superseded board" in filled.app.test_client().get(f"/snapshots/{ranked[-1]}/figures").text
    unranked = [row.digest for row in earlier if not read_board(row.body).ranked]
    assert filled.app.test_client().get(f"/snapshots/{unranked[0]}/figures").status_code == 404


def test_the_blobs_of_a_model_add_up_to_all_draws(filled: Federation) -> None:
    """The table beside the drawing has the same shares."""
    found = read_board(standing(filled).body)
    raw = json.loads(standing(filled).body)
    for row in found.entries:
        assert row.rank_draws is not None
        first, counts = row.rank_draws
        assert sum(counts) == raw["draws"]
        share_of_first = counts[0] / raw["draws"] if first == 1 else 0.0
        assert share_of_first == pytest.approx(row.first)
    blob = figures_view(found, curves=lambda model: {"classes": {}})[0]
    assert [row[0] for row in blob.rows] == [one.name for one in found.entries]


def test_a_blobs_area_is_its_share() -> None:
    """Half of the draws, half of the area."""
    drawn = parsed(blob_plot([RankRow("A", 1, (0.5, 0.5), 1, 2), RankRow("B", 1, (1.0,), 1, 1)], title="t"))
    radii = [float(one.get("r") or 0) for one in drawn.iter("circle") if one.get("class") == "blob"]
    assert radii[0] ** 2 / radii[2] ** 2 == pytest.approx(0.5, abs=0.01)
    assert drawn.find("title") is not None
    assert "A: ranks 1 to 2" in (drawn.findtext("desc") or "")


def test_a_sure_difference_is_filled_and_an_open_one_a_ring() -> None:
    """What is surely worse stays empty: it is the other model's filled cell."""
    drawn = parsed(
        significance_grid(["A", "B", "C"], [[None, True, False], [False, None, False], [False] * 3], title="t")
    )
    classes = [one.get("class") for one in drawn.iter("circle")]
    assert classes.count("estimate") == 1
    assert classes.count("site") == 4


def test_a_name_cannot_break_out_of_a_drawing() -> None:
    """Whatever a researcher calls a model, it is text."""
    hostile = '</text><script>alert("1")</script>'
    found = figures_view(board(entry(hostile)), curves=lambda model: {"classes": {}})
    assert found
    assert all("<script" not in figure.drawing for figure in found)
