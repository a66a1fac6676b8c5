"""From a source of images to de-identified raw cases in the site's private store.

A :class:`~silo_node.intake.source.Source` yields items and reads each into a
:class:`~silo_node.intake.source.SourceCase`; :func:`~silo_node.intake.run.take_in` de-identifies, checks, stores and
books them, whatever the source. What cannot be used is quarantined with a coded reason, and the intake goes on.
"""
