"""The demonstrations' sites on the real data sets, where they are at hand."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.demonstration import DemoSite
from benchmarks.hippocampus_mr import demo as hippocampus
from benchmarks.pneumonia_xray import demo as pneumonia
from tests.data import data_folder


def rows(site: DemoSite) -> list[dict[str, str]]:
    with site.table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_pneumonia_is_dealt_out_unevenly_and_tested_on_the_official_split(tmp_path: Path) -> None:
    """Every test image once, twenty of each class for validation, and no image in training and test."""
    data = data_folder("pneumoniamnist")
    sites = pneumonia.write_sites(tmp_path, data)
    counts = [Counter((row["split"], row["label"]) for row in rows(site)) for site in sites]
    assert [sum(count[("test", label)] for count in counts) for label in ("normal", "pneumonia")] == [234, 390]
    assert all(count[("validation", "normal")] >= 20 for count in counts)
    shares = [count[("train", "normal")] / count[("train", "pneumonia")] for count in counts]
    assert shares[0] > 0.6 > 0.4 > shares[1]
    train, test = pneumonia._read(data, "train"), pneumonia._read(data, "test")
    deal = pneumonia._deal(train, test, pneumonia.SEED)
    images = [train[0][index].tobytes() for index in np.concatenate([deal.own, *deal.train])]
    assert len(set(images)) == len(images)
    assert not set(images) & {image.tobytes() for image in test[0]}


def test_pneumonias_sites_keep_the_images_shape_and_range(tmp_path: Path) -> None:
    """A table row for each image of the archive."""
    site = pneumonia.write_sites(tmp_path, data_folder("pneumoniamnist"))[2]
    with np.load(site.folder / "images.npz", allow_pickle=False) as arrays:
        images = arrays["images"]
    assert images.dtype == np.uint8
    assert images.shape == (len(rows(site)), 28, 28)
    assert rows(site)[7]["path"] == "images.npz#7"


def test_the_hippocampus_sites_hold_every_case_but_the_researchers(tmp_path: Path) -> None:
    """199 cases, eight of them in no site; the official test cases and five for validation at each."""
    sites = hippocampus.write_sites(tmp_path, data_folder("hippocampus"))
    counts = [Counter(row["split"] for row in rows(site)) for site in sites]
    assert sum(sum(count.values()) for count in counts) == 199 - 8
    assert [count["test"] for count in counts] == [8, 6, 19, 7]
    assert all(count["validation"] == 5 for count in counts)
    for site in sites:
        assert all((site.folder / row[column]).is_file() for row in rows(site) for column in ("path", "label_path"))


@pytest.mark.parametrize("demo", [pneumonia, hippocampus])
def test_without_the_data_the_demo_says_which_folder_is_missing(demo: object, tmp_path: Path) -> None:
    """Rather than failing in the middle."""
    for data in (None, tmp_path / "nothing"):
        with pytest.raises(FileNotFoundError):
            demo.write_sites(tmp_path / "out", data)  # type: ignore[attr-defined]
