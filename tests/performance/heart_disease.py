"""The UCI heart-disease files as they ought to be read, for every script that trains on them."""

import numpy as np

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
PAIN, ECG = 2, 6
"""Columns of the kind of chest pain (1 to 4) and of the resting ECG (0 to 2)."""


def recoded(table: np.ndarray) -> np.ndarray:
    """Return a hospital's rows in the codes of the original; the label is the last column, nought unknown as NaN.

    A copy of Cleveland's file that goes about has chest pain from 0, the ECG in another order, and the label reversed.
    """
    if (table[:, PAIN] == 4).any():
        return table
    fixed = table.copy()
    for column, codes in ((PAIN, (4, 2, 3, 1)), (ECG, (2, 0, 1))):
        known = ~np.isnan(table[:, column])
        fixed[known, column] = np.array(codes)[table[known, column].astype(int)]
    fixed[:, -1] = 1 - table[:, -1]
    return fixed
