"""The C-STORE listener, with DCMTK's storescu and dcmsend as the devices that send."""

import subprocess
from pathlib import Path

import pydicom
import pytest

from silo_node.catalogue import Catalogue
from silo_node.config import ListenerSettings
from silo_node.intake.pacs.listener import Listener
from silo_node.state import Home
from silo_node.wire.errors import PROBLEMS, ConfigError
from tests.data import data_folder
from tests.silo.pacs.dcmtk import dcmsend, storescu
from tests.silo.pacs.site import kept, listening
from tests.silo.sources import save, xray

NOT_ON_THE_NETWORK = {"MR_truncated.dcm", "no_meta.dcm", "rtstruct.dcm"}
"""Samples that DCMTK itself does not send."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def data_set(path: Path) -> bytes:
    """Return a file's bytes after the file meta information, which names who wrote the file."""
    with path.open("rb") as file:
        pydicom.filereader.read_preamble(file, force=False)
        pydicom.filereader._read_file_meta_info(file)
        return file.read()


def test_a_study_is_kept_byte_for_byte_and_taken_in_once_it_is_quiet(home: Home, tmp_path: Path) -> None:
    files = [save(xray(seed=seed), tmp_path / f"{seed}.dcm") for seed in range(3)]
    with listening(home) as site:
        assert storescu(site.port, files).returncode == 0
        assert site.next_report().added == 3
    stored = kept(home)
    for file in files:
        _, path = stored[str(pydicom.dcmread(file).SOPInstanceUID)]
        assert data_set(path) == data_set(file)
        assert path.stat().st_mode & 0o077 == 0
    assert len(list(home.raw.iterdir())) == 3


@pytest.mark.parametrize(
    ("sample", "option"),
    [
        ("pydicom/MR_small.dcm", "-xe"),
        ("pydicom/MR_small_implicit.dcm", "-xi"),
        ("pydicom/MR_small_bigendian.dcm", "-xb"),
        ("pydicom/image_dfl.dcm", "-xd"),
        ("pydicom/SC_rgb_jpeg_dcmtk.dcm", "-xy"),
        ("nema-wg04/MR4_JPLY", "-xx"),
        ("nema-wg04/MR2_JPLL", "-xs"),
        ("nema-wg04/CT2_JLSL", "-xt"),
        ("nema-wg04/NM1_JLSN", "-xu"),
        ("nema-wg04/CT1_J2KR", "-xv"),
        ("nema-wg04/MR1_J2KI", "-xw"),
        ("nema-wg04/CT1_RLE", "-xr"),
    ],
)
def test_every_transfer_syntax_is_accepted_and_the_pixels_kept_as_they_are(
    home: Home, sample: str, option: str
) -> None:
    """DCMTK may spell lengths and groups anew, so the pixel data's bytes and its syntax are what must be the same."""
    file = data_folder("dicom-samples") / sample
    with listening(home) as site:
        sent = storescu(site.port, [file], "-R", option)
        assert sent.returncode == 0, sent.stderr
        site.next_report()
    ((row, path),) = kept(home).values()
    before, after = pydicom.dcmread(file), pydicom.dcmread(path)
    assert row.transfer_syntax == before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID
    assert after.PixelData == before.PixelData


@pytest.mark.slow
def test_all_samples_arrive_whatever_their_class_and_none_stops_the_listener(home: Home) -> None:
    files = [path for path in sorted(data_folder("dicom-samples").rglob("*")) if path.is_file()]
    files = [path for path in files if path.name not in NOT_ON_THE_NETWORK and path.suffix not in (".md", ".csv")]
    with listening(home, quiet_seconds=3600) as site:
        told = dcmsend(site.port, files, "--no-halt", "--no-illegal-proposal", "--no-uid-checks")
    assert len(kept(home)) >= 95, told[-2000:]
    with listening(home, quiet_seconds=0) as site:
        report = site.next_report()
    # Slices are one case a series, so there are fewer cases than objects; what is no case says why.
    assert report.added >= 15
    assert report.quarantined["sop-class-refused"] >= 5
    assert report.quarantined.keys() <= PROBLEMS.keys()


def test_an_unknown_sender_and_a_wrong_called_title_are_rejected(home: Home, tmp_path: Path) -> None:
    file = save(xray(), tmp_path / "a.dcm")
    with listening(home, calling_ae_titles=("CT1", "PACS"), called_ae_titles=("MEDSILO", "CHEST")) as site:
        assert "Calling AE Title Not Recognized" in storescu(site.port, [file], calling="STRANGER").stderr
        assert "Called AE Title Not Recognized" in storescu(site.port, [file], called="OTHER").stderr
        assert kept(home) == {}
        assert storescu(site.port, [file], called="CHEST", calling="PACS").returncode == 0
    assert len(kept(home)) == 1


def test_the_same_uid_with_other_bytes_is_refused_and_the_sender_told(home: Home, tmp_path: Path) -> None:
    first = save(xray(seed=1), tmp_path / "a.dcm")
    other = save(xray(seed=1, StudyDescription="changed"), tmp_path / "b.dcm")
    with listening(home) as site:
        assert storescu(site.port, [first]).returncode == 0
        assert storescu(site.port, [first]).returncode == 0
        refused = storescu(site.port, [other], "-d")
        assert "duplicate-conflict" in refused.stdout + refused.stderr
    assert len(kept(home)) == 1
    with Catalogue(home.catalogue) as catalogue:
        assert [row.code for row in catalogue.quarantine()] == ["duplicate-conflict"]


def test_over_the_quota_the_sender_is_told_to_try_again_later(home: Home, tmp_path: Path) -> None:
    files = [save(xray(rows=100, columns=100, seed=seed), tmp_path / f"{seed}.dcm") for seed in range(3)]
    with listening(home, quota=50_000) as site:
        answers = [storescu(site.port, [file]) for file in files]
        assert ["OutOfResources" in answer.stdout + answer.stderr for answer in answers] == [False, False, True]
    assert len(kept(home)) == 2


def test_a_study_that_is_still_arriving_is_left_alone_and_a_late_image_is_taken_in_too(
    home: Home, tmp_path: Path
) -> None:
    files = [save(xray(seed=seed), tmp_path / f"{seed}.dcm") for seed in range(3)]
    with listening(home, quiet_seconds=3600) as site:
        storescu(site.port, files[:2])
    assert len(kept(home)) == 2
    assert list(home.raw.iterdir()) == []
    with listening(home, quiet_seconds=0) as site:
        assert site.next_report().added == 2
        storescu(site.port, files[2:])
        late = site.next_report()
        assert (late.added, late.unchanged) == (1, 2)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, certified = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certified)]
    subprocess.run(command, check=True, capture_output=True)
    return certified, key


def test_tls_with_client_certificates_lets_in_the_right_sender_only(home: Home, tmp_path: Path) -> None:
    (site_pem, site_key), (device_pem, device_key) = certificate(tmp_path, "silo"), certificate(tmp_path, "ct1")
    (other_pem, other_key) = certificate(tmp_path, "stranger")
    file = save(xray(), tmp_path / "a.dcm")
    with listening(home, tls_certificate=site_pem, tls_key=site_key, tls_client_ca=device_pem) as site:
        trust = ("+cf", str(site_pem))
        assert storescu(site.port, [file]).returncode != 0
        assert storescu(site.port, [file], "+tls", str(other_key), str(other_pem), *trust).returncode != 0
        assert storescu(site.port, [file], "+tls", str(device_key), str(device_pem), "+cf", str(device_pem)).returncode
        assert kept(home) == {}
        sent = storescu(site.port, [file], "+tls", str(device_key), str(device_pem), *trust)
        assert sent.returncode == 0, sent.stderr
    assert len(kept(home)) == 1


def test_an_address_others_reach_needs_to_be_told_who_may_send() -> None:
    with pytest.raises(ConfigError) as refusal:
        Listener(ListenerSettings(address="0.0.0.0"))
    assert refusal.value.code == "config-invalid"
    Listener(ListenerSettings(address="0.0.0.0", calling_ae_titles=("CT1",)))


def test_a_port_that_is_taken_ends_the_command_with_its_code(home: Home, tmp_path: Path) -> None:
    with (
        listening(home) as site,
        pytest.raises(ConfigError) as refusal,
        listening(Home(tmp_path / "b"), port=site.port),
    ):
        pass
    assert refusal.value.code == "listener-unavailable"
