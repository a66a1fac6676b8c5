"""From the slices of a DICOM series to one volume that lies where the patient lay, or to the reason why there is none.

:mod:`~silo_node.series.geometry` decides from positions alone, :mod:`~silo_node.series.planes` reads positions and
pixels of classic and enhanced objects, :mod:`~silo_node.series.volume` puts the two together, and
:mod:`~silo_node.series.segmentation` lays a label map over the result.
"""
