"""DICOM objects as they arrived, in the private store, whatever way they came.

An :class:`~silo_node.intake.objects.source.ObjectSource` (a folder, a PACS, a listener) hands objects to the
:class:`~silo_node.intake.objects.inbox.Inbox`, which keeps each once, by SOP Instance UID. What is kept is indexed by
study and series (:class:`~silo_node.intake.objects.index.ObjectIndex`), and is itself a source of cases
(:class:`~silo_node.intake.objects.stored.StoredObjects`).
"""
