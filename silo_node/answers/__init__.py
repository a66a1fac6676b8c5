"""A model's answer as a radiologist looks at it: DICOM segmentations and reports for the PACS viewer.

They name the patient, as everything in a PACS does, so they are written from the objects of the private store, into a
folder of the site's own or to its PACS, and never go to the hub.
"""
