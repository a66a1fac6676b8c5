"""The arithmetic of secure aggregation: fixed point, masks, Shamir's shares, keys. No network, no messages, no state.

Double masking after Bonawitz et al. (CCS 2017): a site adds one mask it shares with each other site, which cancels in
the sum, and one of its own, which the others help to take away once the sum is settled. Both sides of the door compute
with this package, so that they agree bit for bit.
"""
