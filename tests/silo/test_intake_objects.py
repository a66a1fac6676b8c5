"""The store of DICOM objects: each once, whole, indexed, whatever way it came."""

import contextlib
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from silo_node.catalogue import Catalogue
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.header import read_header
from silo_node.intake.objects.index import ObjectIndex, StudyFilter, place_of
from silo_node.intake.run import IntakeReport, IntakeRules, deliver, inbox_of, take_in_objects, take_in_settled
from silo_node.intake.source import Item
from silo_node.state import Home
from silo_node.wire.errors import BadInput, MedSiloError
from tests.silo.sources import save, write_table, xray


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def take(home: Home, folder: Path, **rules: int) -> IntakeReport:
    return take_in_objects(home, DicomFolder(folder), IntakeRules(**rules))


def test_objects_are_indexed_by_study_and_series_with_their_own_ids(home: Home, tmp_path: Path) -> None:
    images = [xray(patient=f"MRN-{seed // 2}", seed=seed, StudyDate=f"2024010{seed // 2 + 1}") for seed in range(4)]
    for seed, image in enumerate(images):
        save(image, tmp_path / f"pacs/{seed}.dcm")
    take(home, tmp_path / "pacs")
    with ObjectIndex(home) as index:
        assert index.count() == (2, 4, sum(path.stat().st_size for path in (tmp_path / "pacs").iterdir()))
        (found,) = index.studies(StudyFilter(since="20240102", until="20240102", modality="DX"))
        assert (found.study, found.patient, found.objects) == (images[2].StudyInstanceUID, "MRN-1", 2)
        rows = index.objects_of_series(images[2].SeriesInstanceUID, "default")
        assert {row.instance for row in rows} == {images[2].SOPInstanceUID, images[3].SOPInstanceUID}
        files = ObjectFiles(home)
        assert {read_header(files.read(row)).instance for row in rows} == {row.instance for row in rows}


def test_studies_are_listed_page_by_page(home: Home, tmp_path: Path) -> None:
    for number in range(7):
        save(xray(patient=f"P{number}", StudyDate="20240101"), tmp_path / f"pacs/{number}.dcm")
    take(home, tmp_path / "pacs")
    with ObjectIndex(home) as index:
        seen, after = [], ""
        while page := index.studies(after=after, limit=3):
            seen += [row.study for row in page]
            after = place_of(page[-1])
    assert len(seen) == len(set(seen)) == 7


def test_the_file_meta_information_does_not_count_when_bytes_are_compared(home: Home, tmp_path: Path) -> None:
    image = xray()
    save(image, tmp_path / "pacs/a.dcm")
    image.file_meta.ImplementationVersionName = "ANOTHER_ROUTE"
    save(image, tmp_path / "pacs/b.dcm")
    report = take(home, tmp_path / "pacs")
    assert (report.received.new, report.received.known, report.added) == (1, 1, 1)


def test_a_good_file_takes_the_place_of_a_damaged_one_with_its_uid_in_either_order(home: Home, tmp_path: Path) -> None:
    for name, order in (("first", ("a", "b")), ("second", ("b", "a"))):
        good, damaged = (tmp_path / f"{name}/{letter}.dcm" for letter in order)
        whole = save(xray(patient=name), good).read_bytes()
        damaged.write_bytes(whole[:-50])
        assert take(home, tmp_path / name).added == 1
        with Catalogue(home.catalogue) as catalogue:
            assert [row.code for row in catalogue.quarantine()] == ["file-undecodable"]
        damaged.unlink()
        os.link(good, damaged)
        assert take(home, tmp_path / name).quarantined.total() == 0
    assert len(list(home.raw.iterdir())) == 2


def test_over_its_quota_an_intake_stops_with_a_code_and_keeps_what_came_before(home: Home, tmp_path: Path) -> None:
    for seed in range(3):
        save(xray(rows=100, columns=100, seed=seed), tmp_path / f"pacs/{seed}.dcm")
    with pytest.raises(MedSiloError) as refusal:
        take(home, tmp_path / "pacs", quota_bytes=50_000)
    assert refusal.value.code == "quota-exceeded"
    with ObjectIndex(home) as index:
        assert index.count()[1] == 2
    assert take(home, tmp_path / "pacs").added == 3


def test_of_two_intakes_at_once_that_bring_one_uid_with_other_bytes_the_second_is_refused(
    home: Home, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        save(xray(StudyDescription=name), tmp_path / f"{name}/x.dcm")
    sources = [DicomFolder(tmp_path / name) for name in ("a", "b")]
    first, second = (inbox_of(home, source, IntakeRules()) for source in sources)
    data = (tmp_path / "a/x.dcm").read_bytes()

    def another_takes_it_in() -> Iterator[Item]:
        yield Item("x.dcm", "1")
        sources[1].deliver(second)
        second.close()

    # What the first has read it books at the end, after the second has booked its own.
    with contextlib.closing(first):
        first.take_each(another_takes_it_in(), lambda item: data)
    assert (second.received.new, first.received.new) == (1, 0)
    assert first.received.refused == {"duplicate-conflict": 1}
    assert len(list((home.private / "objects").rglob("*.dcm"))) == 1


@pytest.mark.slow
def test_very_many_files_of_which_three_are_broken(home: Home, tmp_path: Path) -> None:
    """The images are tiny; it is their number that counts. ``MEDSILO_MANY=10000`` takes four minutes."""
    many = int(os.environ.get("MEDSILO_MANY", "600"))
    template = save(xray(rows=2, columns=2), tmp_path / "template.dcm").read_bytes()
    uid = read_header(template).instance.encode()
    for number in range(many):
        folder = tmp_path / f"pacs/{number // 500:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        changed = template.replace(uid, uid[:-6] + b"%06d" % number)
        (folder / f"{number}.dcm").write_bytes(changed)
    broken = [tmp_path / f"pacs/{number // 500:02d}/{number}.dcm" for number in (3, many // 2 + 3, many - 1)]
    broken[0].write_bytes(b"\x00" * 300)
    broken[1].write_bytes(broken[1].read_bytes()[:400])
    broken[2].write_bytes(broken[2].read_bytes()[:-3])
    received = deliver(home, DicomFolder(tmp_path / "pacs"), IntakeRules())
    assert received.new + received.refused.total() == many
    report = take_in_settled(home, IntakeRules())
    assert report.added == many - 3
    assert received.refused + report.quarantined == {"not-dicom": 1, "image-invalid": 1, "file-undecodable": 1}


PROGRAM = """
import sys
from pathlib import Path
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeRules, take_in_objects
from silo_node.state import Home
take_in_objects(Home(Path(sys.argv[1])), DicomFolder(Path(sys.argv[2])), IntakeRules(), progress=print)
"""


def kill_at(home: Home, folder: Path, lines: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-uc", PROGRAM, str(home.path), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def test_killed_on_the_way_in_and_run_again_every_object_is_there_once(home: Home, tmp_path: Path) -> None:
    count = 400
    for seed in range(count):
        save(xray(seed=seed, rows=4, columns=4), tmp_path / f"pacs/{seed:04d}.dcm")
    # In the middle of the first group, of the delivery, and of turning the objects into cases.
    for lines in (100, 300, count + 200):
        kill_at(home, tmp_path / "pacs", lines)
    with ObjectIndex(home) as index:
        booked = index.count()[1]
    assert booked == count
    report = take(home, tmp_path / "pacs")
    assert (report.received.new, report.received.known) == (0, count)
    assert report.added + report.unchanged == count
    assert report.unchanged >= 128
    folders = {path.name for path in (home.private / "objects").rglob("*.dcm")}
    assert len(folders) == count
    assert list((home.private / "objects/incoming").iterdir()) == []


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_archives_are_read_where_they_lie_or_by_themselves(home: Home, tmp_path: Path) -> None:
    images = [save(xray(seed=seed), tmp_path / f"{seed}.dcm").read_bytes() for seed in range(3)]
    zipped(tmp_path / "pacs/study/one.zip", {"DICOM/1": images[0], "DICOM/2": images[1], "DICOMDIR": b"x"})
    (tmp_path / "pacs/3.dcm").write_bytes(images[2])
    table = write_table(tmp_path / "t.csv", [{"path": "study/one.zip", "label": "1"}, {"path": "3.dcm", "label": "0"}])
    report = take_in_objects(home, DicomFolder(tmp_path / "pacs", table), IntakeRules())
    assert (report.added, report.quarantined.total()) == (3, 0)
    again = take(home, tmp_path / "pacs/study/one.zip")
    assert (again.received.new, again.received.known) == (0, 2)


def test_bombs_and_damaged_archives_are_refused_as_a_whole(home: Home, tmp_path: Path) -> None:
    good = save(xray(), tmp_path / "pacs/good.dcm").read_bytes()
    bomb = zipped(tmp_path / "pacs/bomb.zip", {"1.dcm": bytes(3 << 20)})
    # The member's own account of its size, in the directory at the end, is raised to what deflate cannot reach.
    raw = bomb.read_bytes()
    entry = raw.rindex(b"PK\x01\x02")
    bomb.write_bytes(raw[: entry + 24] + (1 << 30).to_bytes(4, "little") + raw[entry + 28 :])
    liar = zipped(tmp_path / "pacs/liar.zip", {"1.dcm": bytes(3 << 20)})
    raw = liar.read_bytes()
    entry = raw.rindex(b"PK\x01\x02")
    liar.write_bytes(raw[: entry + 24] + (100).to_bytes(4, "little") + raw[entry + 28 :])
    zipped(tmp_path / "pacs/cut.zip", {"1.dcm": good})
    (tmp_path / "pacs/cut.zip").write_bytes((tmp_path / "pacs/cut.zip").read_bytes()[:200])
    report = take(home, tmp_path / "pacs")
    assert report.added == 1
    assert report.quarantined == {"archive-unsafe": 3}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not-dicom"),
        (b"\x00" * 128 + b"DICM", "image-invalid"),
        (b"\x00" * 128 + b"DICM" + b"\xff" * 64, "image-invalid"),
        (b"PK\x03\x04" + b"\x00" * 200, "not-dicom"),
    ],
)
def test_what_is_no_object_is_refused_with_a_code(data: bytes, code: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_header(data)
    assert refusal.value.code == code
