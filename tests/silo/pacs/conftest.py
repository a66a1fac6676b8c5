"""One PACS for all tests of the session."""

import os
from collections.abc import Iterator

import pytest

from tests.data import data_folder
from tests.silo.pacs.orthanc import Orthanc, running, unavailable


@pytest.fixture(scope="session")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS that holds real objects of four makers: an fMRI series, a hippocampus crop, and single images."""
    reason = unavailable()
    if reason is not None:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(reason)
        pytest.skip(reason)
    samples = data_folder("dicom-samples")
    files = sorted((samples / "nih-ge/mr_0004").glob("*-0000*.dcm"))
    files += sorted((samples / "udacity-study1/13_HCropVolume").glob("*.dcm"))[:12]
    files += [samples / name for name in ("pydicom/CT_small.dcm", "pydicom/MR_small_jp2klossless.dcm")]
    files += [samples / name for name in ("nema-wg04/CT1_RLE", "nema-wg04/MR2_JPLL", "pydicom/image_dfl.dcm")]
    with running(tmp_path_factory.mktemp("orthanc")) as peer:
        peer.upload(files)
        yield peer
