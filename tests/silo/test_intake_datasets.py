"""Images beside tables and in published layouts: PNG, Parquet, the Decathlon's dataset.json, BIDS trees."""

import gzip
import json
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin
from safetensors.numpy import load_file

from silo_node.intake.datasets import read_bids, read_dataset, read_decathlon
from silo_node.intake.run import IntakeReport, IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.errors import BadInput
from tests.data import data_folder
from tests.silo.sources import nifti, npz_site, write_table


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def take(home: Home, source: TableSource) -> IntakeReport:
    return take_in(home, source, IntakeRules())


def records(home: Home) -> list[dict[str, Any]]:
    return [json.loads((folder / "case.json").read_bytes()) for folder in sorted(home.raw.iterdir())]


def volume(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(100, 20, (6, 7, 8)).astype(np.float32)


def drawn(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 3, (6, 7, 8)).astype(np.uint8)


def png(path: Path, values: np.ndarray[Any, Any], **said: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks = PngImagePlugin.PngInfo()
    for name, text in said.items():
        chunks.add_text(name, text)
    Image.fromarray(values).save(path, pnginfo=chunks)


def test_png_images_come_in_with_their_exact_values(home: Home, tmp_path: Path) -> None:
    generator, folder = np.random.default_rng(1), tmp_path / "site"
    grey = generator.integers(0, 256, (9, 7)).astype(np.uint8)
    deep = generator.integers(0, 2**16, (9, 7)).astype(np.uint16)
    colour = generator.integers(0, 256, (9, 7, 3)).astype(np.uint8)
    mask = generator.integers(0, 3, (9, 7)).astype(np.uint8)
    png(folder / "grey.png", grey, Comment="Musterfrau^Erika")
    png(folder / "deep.png", deep)
    png(folder / "colour.PNG", colour)
    png(folder / "mask.png", mask)
    rows = [{"path": f"{name}", "label": "0", "patient": name} for name in ("grey.png", "deep.png", "colour.PNG")]
    rows = [{**row, "label_path": "mask.png", "label": ""} if row["path"] == "grey.png" else row for row in rows]
    columns = ["path", "label", "label_path", "patient"]
    source = TableSource(write_table(folder / "t.csv", rows, columns), folder, collection="c", modality="DX")
    assert take(home, source).added == 3
    found = {file.stat().st_size: file for file in home.raw.glob("*/image.safetensors")}
    images = [load_file(file)["image"] for file in found.values()]
    for expected in (grey, deep.astype(np.float32), np.moveaxis(colour, -1, 0)):
        assert any(image.shape == expected.shape and np.array_equal(image, expected) for image in images)
    (label,) = [load_file(file)["label"] for file in home.raw.glob("*/label.safetensors")]
    assert np.array_equal(label, mask)


def test_a_damaged_or_enormous_png_is_quarantined(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    png(folder / "cut.png", np.zeros((50, 50), np.uint8))
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:60])
    head = struct.pack(">II", 60_000, 60_000) + b"\x08\x00\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "other.png").write_bytes(b"GIF89a")
    rows = [{"path": f"{name}.png", "label": "0", "patient": name} for name in ("cut", "bomb", "other")]
    report = take(home, TableSource(write_table(folder / "t.csv", rows), folder, collection="c"))
    assert (report.added, report.quarantined.total()) == (0, 3)
    assert set(report.quarantined) <= {"file-undecodable", "image-invalid"}


def test_a_parquet_table_says_the_same_as_the_csv_one(home: Home, tmp_path: Path) -> None:
    table = npz_site(tmp_path / "site", 6)
    frame = pd.read_csv(table)
    frame["age"] = [61.0, None, 33.0, 92.0, 5.0, None]
    frame.to_csv(table, index=False)
    frame.to_parquet(tmp_path / "site/table.parquet")
    assert take(home, TableSource(table, table.parent, collection="c")).added == 6
    again = take(home, TableSource(tmp_path / "site/table.parquet", table.parent, collection="c"))
    assert (again.added, again.updated, again.unchanged) == (0, 0, 6)
    assert Counter(record["attributes"].get("age_band") for record in records(home))["60-64"] == 1


@pytest.mark.parametrize("damage", ["cut", "text", "columns"])
def test_a_damaged_parquet_table_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"path": ["a.npz"], "label": [1], "patient": ["p"]}).to_parquet(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "text":
        path.write_text("path,label\n")
    else:
        pd.DataFrame({"path": ["a.npz"], "label": [1]}).to_parquet(path)
    with pytest.raises(BadInput) as refusal:
        TableSource(path, tmp_path, collection="c")
    assert refusal.value.code == ("table-column-missing" if damage == "columns" else "table-unreadable")


def decathlon(folder: Path, count: int = 3) -> Path:
    training = []
    for number in range(count):
        nifti(folder / f"imagesTr/case_{number:03d}.nii.gz", volume(number))
        nifti(folder / f"labelsTr/case_{number:03d}.nii.gz", drawn(number))
        # The published files call every image "./imagesTr/...".
        training.append({key: f"./{key}sTr/case_{number:03d}.nii.gz" for key in ("image", "label")})
    nifti(folder / "imagesTs/case_100.nii.gz", volume(100))
    described = {"modality": {"0": "MRI"}, "training": training, "test": ["./imagesTs/case_100.nii.gz"]}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def test_a_decathlon_folder_needs_no_table(home: Home, tmp_path: Path) -> None:
    folder = decathlon(tmp_path / "Task99")
    rows, modality = read_dataset(folder)
    assert modality == "MR"
    assert take(home, TableSource(rows, folder, collection="c", modality=modality)).added == 4
    assert len({record["patient"] for record in records(home)}) == 4
    assert len(list(home.raw.glob("*/label.safetensors"))) == 3


def test_real_volumes_in_the_decathlons_layout_come_in(home: Home, tmp_path: Path) -> None:
    source, folder = data_folder("hippocampus"), tmp_path / "Task04"
    folder.mkdir()
    (folder / "imagesTr").symlink_to(source / "images")
    (folder / "labelsTr").symlink_to(source / "labels")
    names = sorted(path.name for path in (source / "images").iterdir())[::40]
    training = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "MRI"}, "training": training, "test": []}))
    rows, modality = read_dataset(folder)
    report = take(home, TableSource(rows, folder, collection="c", modality=modality))
    assert (report.added, report.quarantined) == (len(names), Counter())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "table-unreadable"),
        ("[]", "table-unreadable"),
        ('{"training": 3}', "table-unreadable"),
        ('{"training": [{"image": "../../etc/passwd"}]}', "table-unreadable"),
        ('{"training": [{"image": "/etc/passwd"}]}', "table-unreadable"),
        ('{"training": [{"label": "a.nii"}]}', "table-unreadable"),
        ('{"training": [{"image": "a.nii"}, {"image": "./a.nii"}]}', "table-duplicate-key"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(BadInput) as refusal:
        read_decathlon(tmp_path)
    assert refusal.value.code == code


def test_a_bids_tree_says_whose_each_image_is_and_what_was_drawn_on_it(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "bids"
    nifti(folder / "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", volume(1))
    nifti(folder / "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz", volume(2))
    nifti(folder / "sub-02/anat/sub-02_ct.nii", volume(3))
    nifti(folder / "derivatives/manual/sub-01/ses-1/anat/sub-01_ses-1_label-hippocampus_dseg.nii.gz", drawn(1))
    (folder / "participants.tsv").write_text(
        "participant_id\tsex\tage\tsite\nsub-01\tF\t92\tWard 12\nsub-02\tn/a\t7\t\n"
    )
    rows = read_bids(folder)
    assert {path: (row.patient, row.modality, row.label_path is not None) for path, row in rows.items()} == {
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz": ("sub-01", "MR", True),
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz": ("sub-01", "MR", False),
        "sub-02/anat/sub-02_ct.nii": ("sub-02", "CT", False),
    }
    assert take(home, TableSource(rows, folder, collection="c")).added == 3
    found = records(home)
    assert len({record["patient"] for record in found}) == 2
    assert Counter(record["attributes"].get("age_band") for record in found) == {"90+": 2, "5-9": 1}


def test_a_folder_in_no_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refusal:
        read_dataset(tmp_path)
    assert refusal.value.code == "dataset-unknown"
    with pytest.raises(BadInput):
        read_dataset(tmp_path / "nowhere")


def test_a_nifti_file_whose_header_lies_is_quarantined(home: Home, tmp_path: Path) -> None:
    """NIfTI-1: sizes at byte 40, data type at 70, voxel offset at 108, the sform's rows from 280."""
    folder, rows = tmp_path / "site", []
    lies = {
        "more": (40, struct.pack("<4h", 3, 600, 700, 8)),
        "enormous": (40, struct.pack("<4h", 3, 32767, 32767, 32767)),
        "negative": (40, struct.pack("<4h", 3, -6, 7, 8)),
        "five": (40, struct.pack("<6h", 5, 6, 7, 2, 2, 2)),
        "kind": (70, struct.pack("<2h", 4096, 1)),
        "offset": (108, struct.pack("<f", 1e9)),
        "flat": (254, struct.pack("<h", 1) + bytes(24) + bytes(48)),
    }
    for name, (at, wrong) in lies.items():
        path = nifti(folder / f"{name}.nii", volume(1))
        data = path.read_bytes()
        path.write_bytes(data[:at] + wrong + data[at + len(wrong) :])
        rows.append({"path": path.name, "label": 0, "patient": name})
    (folder / "bomb.nii.gz").write_bytes(gzip.compress(bytes(20 << 20)))
    (folder / "cut.nii.gz").write_bytes(gzip.compress(nifti(folder / "x.nii", volume(2)).read_bytes())[:300])
    rows += [{"path": name, "label": 0, "patient": name} for name in ("bomb.nii.gz", "cut.nii.gz")]
    report = take(home, TableSource(write_table(folder / "t.csv", rows), folder, collection="c"))
    assert report.added == 0
    assert report.quarantined.total() == len(rows)
    assert set(report.quarantined) <= {"file-undecodable", "image-invalid"}
