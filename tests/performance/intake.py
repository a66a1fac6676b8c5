"""What taking in images costs: objects a second by source and transfer syntax, memory, and queries of the index.

::

    python -m tests.performance.intake [speed] [syntaxes] [memory] [queries]

The objects are copies of real samples with UIDs of their own; the loop they are compared with reads and decodes the
same files with pydicom and keeps nothing.
"""

import argparse
import functools
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pydicom

from silo_node.config import DicomWebSettings, ListenerSettings, PacsSettings
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.objects.index import ObjectIndex, ObjectRow, StudyFilter, place_of
from silo_node.intake.objects.source import ObjectSource
from silo_node.intake.pacs.dicomweb import DicomWebSource
from silo_node.intake.pacs.http import DicomWebConnection
from silo_node.intake.pacs.query import StudyQuery
from silo_node.intake.pacs.retrieve import PacsSource
from silo_node.intake.run import IntakeRules, deliver, take_in_settled
from silo_node.intake.silence import silent_decoders
from silo_node.state import Home
from tests.data import data_root
from tests.silo.pacs.dcmtk import program, storescu
from tests.silo.pacs.orthanc import PASSWORD, USER, Orthanc, running, unavailable
from tests.silo.pacs.site import listening
from tests.silo.sources import save, xray
from tests.silo.test_intake_decoding import ELSEWHERE, READ_HERE

RULES = IntakeRules(allowed_risks=frozenset(RISKS))
EVERYTHING = StudyQuery(patient="*")


def copies(sample: Path, folder: Path, count: int) -> Path:
    """Write copies of a sample, each a study of its own; the patient stays the same."""
    data, header = sample.read_bytes(), pydicom.dcmread(sample, stop_before_pixels=True)
    uids = [str(header.get(name, "")).encode() for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")]
    folder.mkdir(parents=True)
    if header.file_meta.TransferSyntaxUID == pydicom.uid.DeflatedExplicitVRLittleEndian:
        return _deflated_copies(sample, folder, count)
    for number in range(count):
        changed = data
        for uid in dict.fromkeys(uid for uid in uids if uid):
            changed = changed.replace(uid, uid[:-6] + b"%06d" % number)
        (folder / f"{number:06d}.dcm").write_bytes(changed)
    return folder


def _deflated_copies(sample: Path, folder: Path, count: int) -> Path:
    """Write copies of a file in which no UID can be found as it is written."""
    dataset = pydicom.dcmread(sample)
    for number in range(count):
        for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            setattr(dataset, name, pydicom.uid.generate_uid(entropy_srcs=[name, str(number)]))
        save(dataset, folder / f"{number:06d}.dcm")
    return folder


def bare_loop(folder: Path) -> None:
    """Read and decode every file, as a script would."""
    with silent_decoders():
        for path in sorted(folder.iterdir()):
            dataset = pydicom.dcmread(path)
            assert dataset.pixel_array.size


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def from_source(place: Path, make: Callable[[], ObjectSource], count: int) -> tuple[float, float]:
    """Return the seconds of bringing objects into the private store, and of turning them into cases."""
    home = Home(place)
    arriving = seconds(lambda: deliver(home, make(), RULES))
    taking = seconds(lambda: take_in_settled(home, RULES))
    with ObjectIndex(home) as index:
        kept, cases = index.count()[1], len(list(home.raw.iterdir()))
    assert (kept, cases) == (count, count), f"{kept} objects and {cases} cases of {count}"
    return arriving, taking


def show(name: str, count: int, bare: float, arriving: float, taking: float) -> None:
    """Print one line of the table."""
    rates = (count / bare, count / arriving, count / taking, count / (arriving + taking))
    print(f"{name:42s}" + "".join(f"{rate:12.0f}" for rate in rates), flush=True)


def heading(title: str) -> None:
    """Print the table's head."""
    columns = ("bare pydicom", "arriving", "to cases", "together")
    print(f"\n{title}, objects a second\n{'':42s}" + "".join(f"{column:>12s}" for column in columns), flush=True)


def by_source(count: int, place: Path) -> None:
    """Measure every way in over the same 128 x 128 CT slices."""
    files = copies(data_root() / "dicom-samples/pydicom/CT_small.dcm", place / "ct", count)
    bare_loop(files)
    bare = seconds(lambda: bare_loop(files))
    heading("By source")
    show("folder", count, bare, *from_source(place / "a", lambda: DicomFolder(files), count))
    archive = place / "ct.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(files.iterdir()):
            opened.write(path, path.name)
    show("zip archive", count, bare, *from_source(place / "b", lambda: DicomFolder(archive), count))
    show("C-STORE listener, from DCMTK's storescu", count, bare, *by_listener(place / "c", files))
    reason = unavailable()
    if reason is not None:
        print(f"no PACS: {reason}")
        return
    (place / "orthanc").mkdir()
    with running(place / "orthanc") as pacs:
        pacs.upload(sorted(files.iterdir()))
        show("C-MOVE from Orthanc", count, bare, *from_source(place / "d", lambda: by_move(pacs), count))
        show("DICOMweb from Orthanc", count, bare, *from_source(place / "e", lambda: by_web(pacs, place), count))


def by_listener(place: Path, files: Path) -> tuple[float, float]:
    """Return the seconds of sending all files on one association, and of turning them into cases."""
    home = Home(place)
    with listening(home, quiet_seconds=3600) as site:
        arriving = seconds(lambda: storescu(site.port, sorted(files.iterdir())))
    with ObjectIndex(home) as index:
        index.settle(quiet_since=time.time())
    return arriving, seconds(lambda: take_in_settled(home, RULES))


def by_move(pacs: Orthanc) -> PacsSource:
    """Return a PACS that is asked to send everything, one study after the other."""
    settings = PacsSettings(host="127.0.0.1", port=pacs.dicom)
    return PacsSource(settings, ListenerSettings(port=pacs.listener), EVERYTHING)


def by_web(pacs: Orthanc, place: Path) -> DicomWebSource:
    """Return a DICOMweb service that everything is fetched from."""
    password = place / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    settings = DicomWebSettings(url=f"{pacs.url}/dicom-web", user=USER, password_file=password)
    return DicomWebSource(DicomWebConnection(settings), EVERYTHING)


def by_syntax(count: int, place: Path) -> None:
    """Measure a folder of copies of one sample for each transfer syntax that is decoded here, and by dcmdjpeg."""
    heading("By transfer syntax, from a folder")
    for number, (sample, syntax) in enumerate((READ_HERE | ELSEWHERE).items()):
        files = copies(data_root() / "dicom-samples" / sample, place / f"files{number}", count)
        # Files without a decoder here have no bare loop to compare with.
        bare = seconds(lambda files=files: bare_loop(files)) if sample in READ_HERE else float("inf")
        name = f"{pydicom.uid.UID(syntax).name.partition(' (')[0][:26]} {sample.rpartition('/')[2][:14]}"
        decoder = None if sample in READ_HERE else Path(program("dcmdjpeg"))
        rules = IntakeRules(allowed_risks=frozenset(RISKS), external_decoder=decoder)
        home = Home(place / f"home{number}")
        table = place / f"{number}.csv"
        table.write_text("path,patient\n.,P1\n")
        source = DicomFolder(files, table)
        arriving = seconds(functools.partial(deliver, home, source, rules))
        taking = seconds(functools.partial(take_in_settled, home, rules))
        assert len(list(home.raw.iterdir())) == count
        show(name, count, bare, arriving, taking)


def resident() -> float:
    """Return the memory this process has resident now, in MB."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def memory(count: int, place: Path) -> None:
    """Print the memory at each tenth of an intake of generated X-rays, a hundred to a study."""
    template = save(xray(rows=16, columns=16, patient="MRN-000000"), place / "template.dcm").read_bytes()
    header = pydicom.dcmread(place / "template.dcm")
    uids = [str(value).encode() for value in (header.SOPInstanceUID, header.StudyInstanceUID)]
    for number in range(count):
        changed = template.replace(uids[0], uids[0][:-8] + b"%08d" % number)
        changed = changed.replace(uids[1], uids[1][:-8] + b"%08d" % (number // 100))
        folder = place / f"files/{number // 1000:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.dcm").write_bytes(changed.replace(b"MRN-000000", b"MRN-%06d" % (number // 100)))
    home, seen = Home(place / "home"), list[float]()

    def watch(done: int, total: int) -> None:
        if done % max(count // 10, 1) == 0:
            seen.append(resident())

    for title, work in (("arriving", deliver_all), ("to cases", take_in_all)):
        seen.clear()
        took = seconds(functools.partial(work, home, place / "files", watch))
        print(f"{title}: {count / took:.0f} objects a second; MB at each tenth: {' '.join(f'{mb:.0f}' for mb in seen)}")


def deliver_all(home: Home, files: Path, watch: Callable[[int, int], None]) -> None:
    """Bring a folder into the private store."""
    deliver(home, DicomFolder(files), RULES, progress=watch)


def take_in_all(home: Home, files: Path, watch: Callable[[int, int], None]) -> None:
    """Turn what arrived into cases."""
    take_in_settled(home, RULES, progress=watch)


def queries(count: int, place: Path) -> None:
    """Print how long questions to the index take when it has very many studies, three objects in each."""
    home, random = Home(place / "home").create(), Random(1)
    modalities = ("CT", "MR", "DX", "MG", "PT")
    with ObjectIndex(home) as index:
        with index.transaction():
            for number in range(count):
                date = f"{random.randint(2005, 2025)}{random.randint(1, 12):02d}{random.randint(1, 28):02d}"
                for slice_number in range(3):
                    index.put(
                        _row(number, slice_number, modalities[number % 5]),
                        study_date=date,
                        accession="",
                        at=float(number),
                        by_quiet=True,
                    )
        index.settle(quiet_since=float(count) - 100)
        index.mark_taken(index.pending("default")[:-50])
        page = index.studies(StudyFilter(modality="MR"), limit=50)
        middle = place_of(index.studies(StudyFilter(since="20150615"), limit=1)[0])
        questions: dict[str, Callable[[], object]] = {
            "first page of 50": lambda: index.studies(limit=50),
            "page from the middle": lambda: index.studies(after=middle, limit=50),
            "a modality in a month": lambda: index.studies(
                StudyFilter(collection="default", modality="MR", since="20200301", until="20200331")
            ),
            "a patient": lambda: index.studies(StudyFilter(patient="P000777")),
            "a study and its objects": lambda: index.objects_of_study(page[0].study, "default"),
            "an object by its UID": lambda: index.find("1.2.3.4.1.0.2"),
            "studies still arriving": lambda: index.studies(StudyFilter(settled=False)),
            "studies to turn into cases": lambda: index.pending("default"),
            "counting all": lambda: index.count(),
            "counting a modality": lambda: index.count(StudyFilter(collection="default", modality="CT")),
        }
        print(f"\nQueries of {count} studies, {3 * count} objects; median and worst of 9, ms")
        for name, question in questions.items():
            times = [1000 * seconds(question) for _ in range(9)]
            print(f"{name:30s}{statistics.median(times):10.2f}{max(times):10.2f}", flush=True)


def _row(study: int, number: int, modality: str) -> ObjectRow:
    return ObjectRow(
        instance=f"1.2.3.4.1.{study}.{number}",
        series=f"1.2.3.4.2.{study}",
        study=f"1.2.3.4.3.{study}",
        patient=f"P{study // 2:06d}",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax="1.2.840.10008.1.2.1",
        modality=modality,
        digest=f"{study:060x}{number:04x}",
        size=500_000,
        collection="default",
        source="c-store",
        root="c-store:127.0.0.1:11112",
        place=f"CT1/1.2.3.4.1.{study}.{number}",
    )


def main() -> None:
    """Run the measurements that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=["speed", "syntaxes", "memory", "queries", []], default=[])
    parser.add_argument("--objects", type=int, default=400, help="copies for each source and transfer syntax")
    parser.add_argument("--generated", type=int, default=50_000, help="generated objects for the memory")
    parser.add_argument("--studies", type=int, default=100_000)
    given = parser.parse_args()
    parts: dict[str, Callable[[Path], None]] = {
        "speed": functools.partial(by_source, given.objects),
        "syntaxes": functools.partial(by_syntax, given.objects),
        "memory": functools.partial(memory, given.generated),
        "queries": functools.partial(queries, given.studies),
    }
    for name in given.what or list(parts):
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
