"""What every way to get at DICOM objects looks like: it hands each object to the inbox."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from silo_node.intake.objects.inbox import Inbox


class ObjectSource(Protocol):
    """A way to get at DICOM objects: a folder, an archive, a PACS that is asked, a listener that is sent them.

    It decides nothing. Whether an object is whole, new or in conflict with another is the inbox's to say, and whether
    it becomes a case is decided after that, by what reads the inbox's store.
    """

    kind: str
    """A short name for the index and the catalogue: ``dicom-folder``, ``dicomweb``."""

    root: str
    """Where the source is, for the local user; private."""

    by_quiet: bool
    """Whether its studies settle once nothing came of them for a while, because it cannot say when one is complete."""

    def deliver(self, inbox: "Inbox") -> None:
        """Hand over every object there is, or until told to stop, and settle the studies that are complete.

        What is wrong with one object is told to the inbox, and the delivery goes on. Raises what stops all of it, such
        as ``pacs-unreachable``; run again, the delivery goes on where it stopped.
        """
