"""Known answers, frozen: two releases that share a federation must compute the same masks, keys, shares and words.

A change here is a change of the wire: it needs another version in the key derivation.
"""

import hashlib

import numpy as np

from pipelines.masking import keys, shamir
from pipelines.masking.fixed_point import FixedPoint
from pipelines.masking.keystream import Keystream

ROOT = bytes(range(32))
CONTEXT = b"blake3:" + b"c" * 64
WORDS = [3053490418, 3500099882, 1788539817, 2155294429, 2926992880]
MASK_AGREEMENT = "02867b421df3ab5a29c8802d880523c307cd7f6ade0f5ecac068d89868943c02"
MASK_ENCAPSULATION = "220ab9dce84ec8afdacb9c9d8690cce174cdb0555b98c278445ce84cd912ddb5"
CHANNEL_AGREEMENT = "39554a9762e0fc500bdc54f858b6b1ace716a233c841878b679a85e09382a725"
CHANNEL_ENCAPSULATION = "3adab2b420c0e2ba8f941bb08ac020139fa6a1f521e2a0cac6552bebb0e4f798"
PAIR = "a8aca62af3550c1c9173987d3fd6af201718c8c1163239ec64f71a2d77e4f7ae"
SEALED = "0e8d9d435bef05a5a8f35738777c78e879bab6596e51"
ESCROW = (
    "0610a80cd552954520ec2e08c447c2fade975b3efb587af24cbdaacc14c8eab3742b39b2f4786d995a478520d6fecbc6"
    "9173814e352ed4e8db37bd1be00cad2f91701d4d7b8c335d9248966927a193"
)


def test_the_words_of_a_weighted_update() -> None:
    encoding = FixedPoint.for_sum(16.0, 60, 3)
    assert encoding == FixedPoint(16.0, 21)
    values = np.array([0.0, 1.0, -1.0, 1e-6, -16.0, 16.0], np.float32)
    words = np.empty(6, np.uint32)
    encoding.encode(values, 20, np.empty(6), words)
    assert words.tolist() == [0, 41943040, 4253024256, 42, 3623878656, 671088640]
    assert encoding.decode(words, 20).tolist() == [0.0, 1.0, -1.0, np.float32(42 / 2**21 / 20), -16.0, 16.0]


def test_the_mask_of_a_seed() -> None:
    words = np.zeros(5, np.uint32)
    Keystream(ROOT).add_to(words)
    # AES-256-CTR of noughts; the first block is what `openssl enc -aes-256-ecb` makes of sixteen zero bytes.
    assert words.tolist() == WORDS


def test_the_shares_of_a_secret() -> None:
    shares = shamir.split(ROOT, 2, 3, below=lambda prime: 5)
    assert [int.from_bytes(share, "big") - int.from_bytes(ROOT, "big") for share in shares] == [5, 10, 15]


def test_the_public_keys_of_a_root() -> None:
    mask, channel = keys.mask_keys(ROOT).public, keys.channel_keys(ROOT).public
    assert mask.agreement.hex() == MASK_AGREEMENT
    assert hashlib.sha256(mask.encapsulation).hexdigest() == MASK_ENCAPSULATION
    assert channel.agreement.hex() == CHANNEL_AGREEMENT
    assert hashlib.sha256(channel.encapsulation).hexdigest() == CHANNEL_ENCAPSULATION


def test_the_seed_of_a_pair_and_what_is_sealed() -> None:
    assert keys.pair_seed(ROOT, ROOT, CONTEXT, "silo-000001", "silo-000002").hex() == PAIR
    sealed = keys.seal(ROOT, ROOT, CONTEXT, "silo-000001", "silo-000002", b"shares")
    assert sealed.hex() == SEALED
    assert keys.unseal(ROOT, ROOT, CONTEXT, "silo-000001", "silo-000002", sealed) == b"shares"
    assert keys.close_escrow(ROOT, CONTEXT, {"silo-000002": ROOT}).hex() == ESCROW
