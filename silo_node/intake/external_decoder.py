"""JPEG images that no decoder here reads, through DCMTK's ``dcmdjpeg``, where a site has it and says so.

The free decoders with a permissive licence read neither JPEG Lossless nor 12-bit JPEG. The program runs on one object
at a time, as a process of its own with limits, so that a damaged object costs that process and nothing else.
"""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.pixels.decoders.base import get_decoder

from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.index import ObjectRow
from silo_node.state import Home
from silo_node.wire.errors import ConfigError

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
NOT_READ_HERE = {
    JPEG_EXTENDED,
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
}
SECONDS = 60.0
_LIMITED = 'ulimit -v 4000000 && ulimit -c 0 && exec "$0" "$@"'
"""Memory in kB, and no core file: it would be a copy of the image."""


class DecodableFiles:
    """The stored objects' bytes, uncompressed where no decoder here reads them and the program does."""

    def __init__(self, home: Home, program: Path | None) -> None:
        """Check the program; raises ``config-invalid`` where there is none."""
        if program is not None and not program.is_file():
            raise ConfigError("config-invalid", f"intake.external_decoder: no program {program}")
        self._files, self._program, self._home = ObjectFiles(home), program, home

    def read(self, row: ObjectRow) -> bytes:
        """Return an object's bytes; those it has where the program cannot read it either."""
        data = self._files.read(row)
        if self._program is None or row.transfer_syntax not in NOT_READ_HERE or _is_read_here(row.transfer_syntax):
            return data
        return self._uncompressed(self._files.path(row), self._program) or data

    def _uncompressed(self, path: Path, program: Path) -> bytes | None:
        with TemporaryDirectory(dir=self._home.private, prefix="decode-") as folder:
            out = Path(folder, "out.dcm")
            try:
                command = ["/bin/sh", "-c", _LIMITED, str(program), str(path), str(out)]
                done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
            except (OSError, subprocess.TimeoutExpired):
                return None
            return out.read_bytes() if done.returncode == 0 and out.is_file() else None


def _is_read_here(syntax: str) -> bool:
    """Tell whether a decoder is installed that reads JPEG Lossless: the GPL extra. For 12 bits it is too strict."""
    return syntax != JPEG_EXTENDED and bool(get_decoder(syntax).available_plugins)
