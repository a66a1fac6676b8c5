"""A folder that others copy DICOM files into, looked at again and again.

Looking, and not the system's notices of changes, because these do not come from a network share.
"""

import threading
from pathlib import Path

from silo_node.intake.dicom_folder import deliver_files, files_below
from silo_node.intake.objects.inbox import Inbox
from silo_node.intake.paths import file_stamp
from silo_node.wire.errors import BadInput


class FolderWatch:
    """Delivers each file once its size and time were the same at two looks; changed files are delivered again."""

    kind = "dicom-folder"
    by_quiet = True

    def __init__(self, folder: Path, *, look_every: float = 5.0) -> None:
        """Check the folder; ``look_every`` is in seconds. Raises ``file-missing``."""
        if not folder.is_dir():
            raise BadInput("file-missing", f"no folder {folder}")
        self.root, self.stop = str(folder.resolve()), threading.Event()
        self._folder, self._look_every = folder, look_every

    def deliver(self, inbox: Inbox) -> None:
        """Deliver what comes until told to stop."""
        before: dict[str, str] = {}
        delivered: dict[str, str] = {}
        while True:
            now = {path: file_stamp(self._folder / path) for path in files_below(self._folder)}
            steady = [path for path, stamp in now.items() if before.get(path) == stamp != delivered.get(path)]
            deliver_files(inbox, self._folder, steady)
            delivered = {path: stamp for path, stamp in delivered.items() if path in now}
            delivered |= {path: now[path] for path in steady}
            before = now
            if self.stop.wait(self._look_every):
                return
