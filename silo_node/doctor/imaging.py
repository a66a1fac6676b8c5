"""Checks of what touches images: a made-up study goes through the intake, and decoders are there."""

import subprocess
import sys
import tempfile
from pathlib import Path

from silo_node.doctor.findings import Finding, failed, warning, well

_SECONDS = 120
_DECODERS = {
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
}
_OPTIONAL = ("JPEG lossless",)
"""Its decoder is under the GPL and not installed by us; a site may do so."""


def check_decoders() -> Finding:
    """SN-DCM-002: compressed images can be decoded."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    missing = [name for name, uid in _DECODERS.items() if not get_decoder(UID(uid)).is_available]
    needed = [name for name in missing if name not in _OPTIONAL]
    if needed:
        return warning("SN-DCM-002", f"no decoder for {', '.join(needed)}")
    return well("SN-DCM-002", f"decoders for {', '.join(name for name in _DECODERS if name not in missing)}")


def check_intake() -> Finding:
    """SN-DCM-001: a made-up study with a made-up name goes through the real intake, into a state folder of its own."""
    with tempfile.TemporaryDirectory(prefix="silo-doctor-") as name:
        folder = Path(name)
        names = _write_study(folder / "study")
        home = folder / "home"
        command = [
            sys.executable,
            "-m",
            "silo_node.cli",
            "--home",
            str(home),
            "intake",
            "folder",
            str(folder / "study"),
        ]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode != 0:
            return failed("SN-DCM-001", f"the intake ended with status {done.returncode}")
        if not any((home / "private").rglob("image.safetensors")) and '"added": 1' not in done.stdout:
            return failed("SN-DCM-001", "the made-up image was not taken in")
        told = [path for path in _outside_private(home) if any(word in path.read_bytes() for word in names)]
        if told:
            return failed("SN-DCM-001", f"a name of the made-up patient is in {told[0].relative_to(home)}")
    return well("SN-DCM-001", "a made-up image was taken in; its patient's name is nowhere outside private/")


def _write_study(folder: Path) -> list[bytes]:
    """Write one X-ray and return what must not be found afterwards."""
    import numpy as np

    from benchmarks.phantom.chest import Scanner, chest
    from benchmarks.phantom.dicom import Device, write_dicom
    from benchmarks.phantom.patients import invent_patient

    random = np.random.default_rng(1)
    patient, device = invent_patient(random, 1, "DR"), Device("SIEMENS", "Made-up", "Made-up Hospital")
    folder.mkdir(parents=True)
    image = chest(random, finding=False, scanner=Scanner())
    write_dicom(folder / "image.dcm", image, patient, device, number=1)
    return [word.encode() for word in (patient.family, patient.identifier, f"{patient.birth:%Y%m%d}")]


def _outside_private(home: Path) -> list[Path]:
    private = home / "private"
    return [path for path in sorted(home.rglob("*")) if path.is_file() and not path.is_relative_to(private)]
