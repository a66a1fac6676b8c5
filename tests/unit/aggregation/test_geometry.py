"""The inner products of updates, block by block, against one product of whole arrays in double precision."""

import numpy as np
import pytest

from federation_hub.aggregation.geometry import FEW, InnerProducts


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_blocks_add_up_to_the_inner_products_of_the_whole(count: int) -> None:
    """On both sides of the number from which the whole matrix is multiplied at once."""
    rows = np.random.default_rng(count).normal(size=(count, 100)).astype(np.float32)
    products, norms = InnerProducts(count), InnerProducts(count, norms_only=True)
    for start in range(0, 100, 33):
        blocks = list(rows[:, start : start + 33])
        products.add(blocks)
        norms.add(blocks)
    whole = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.testing.assert_allclose(products.matrix, whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(norms.matrix, np.diag(np.diag(whole)), rtol=1e-12)
