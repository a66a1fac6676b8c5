"""The report a privacy officer signs, and the commands that make it."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr.codedict import codes

from silo_node.deidentify.profile import OPTIONS
from silo_node.state import Home
from tests.silo.series import series
from tests.silo.sources import save, xray
from tests.silo.test_cohort_cli import SiloNode

NAMES = (b"musterfrau", b"mrn-", b"19640812", b"1964-08-12", b"elsewhere")


@pytest.fixture
def silo_node(tmp_path: Path) -> SiloNode:
    node, pacs = SiloNode(tmp_path / "silo"), tmp_path / "pacs"
    for number in range(3):
        save(xray(patient=f"MRN-{number:04d}", seed=number, InstitutionName="Elsewhere"), pacs / f"{number}.dcm")
    save(xray(patient="MRN-0003", seed=3, BurnedInAnnotation="YES"), pacs / "burned.dcm")
    save(xray(patient="MRN-0004", seed=4, ImageType=["DERIVED", "SECONDARY"]), pacs / "capture.dcm")
    (pacs / "notes.txt").write_text("nothing")
    node.home.mkdir()
    (node.home / "policy.toml").write_text('[intake]\nallow_pixel_risks = ["secondary-capture"]\n')
    node.json("intake", "folder", str(pacs))
    return node


def test_the_options_are_those_of_the_standard() -> None:
    """Compared with the dictionary of codes that pydicom generates from PS3.16, context group 7050."""
    theirs = {getattr(codes.cid7050, name).value: getattr(codes.cid7050, name).meaning for name in codes.cid7050.dir()}
    assert {option.code: option.meaning for option in OPTIONS} == theirs
    assert len(OPTIONS) == len(cid_concepts[7050]["DCM"])


def test_the_report_counts_what_came_in_and_what_was_refused(silo_node: SiloNode) -> None:
    facts = silo_node.json("privacy", "report")
    assert (facts["objects"], facts["cases"], facts["patients"], facts["modalities"]) == (5, 4, 4, {"DX": 4})
    assert facts["refused"] == {"not-dicom": 1, "pixel-risk": 1}
    assert facts["pixel_risks_refused"] == {"burned-in-annotation": 1}
    assert facts["pixel_risks_let_through"] == {"secondary-capture": 1}
    assert facts["searched"]["findings"] == []
    page = Path(facts["page"])
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    html = page.read_text()
    for text in ("113100", "113107", "The profile", "burned-in-annotation", "Privacy officer", "90+"):
        assert text in html
    assert not [name for name in NAMES if name in html.lower().encode() + json.dumps(facts).lower().encode()]
    assert json.loads(page.with_suffix(".json").read_text()) == {k: v for k, v in facts.items() if k != "page"}


def test_the_page_loads_nothing_from_anywhere(silo_node: SiloNode) -> None:
    html = Path(silo_node.json("privacy", "report")["page"]).read_text()
    assert "http:" not in html
    assert "https:" not in html
    assert "<script" not in html
    assert "default-src 'none'" in html


def test_a_name_that_got_out_is_told_by_file_and_never_shown(silo_node: SiloNode) -> None:
    assert silo_node("privacy", "search").exit_code == 0
    (Home(silo_node.home).logs / "careless.log").write_text("took in Erika Musterfrau\n")
    found = silo_node("privacy", "search", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"] == ["logs/careless.log"]
    assert "musterfrau" not in found.output.lower()


def test_every_slice_of_a_series_is_known_to_the_search(silo_node: SiloNode, tmp_path: Path) -> None:
    slices = series(np.zeros((4, 5, 3), np.int16), patient="MRN-7777")
    slices[2].ImageComments = "only on the last slice"
    for index, dataset in enumerate(slices):
        save(dataset, tmp_path / f"more/{index}.dcm")
    silo_node.json("intake", "folder", str(tmp_path / "more"))
    (Home(silo_node.home).logs / "careless.log").write_text("ONLY ON THE LAST SLICE")
    assert silo_node("privacy", "search").exit_code == 1
