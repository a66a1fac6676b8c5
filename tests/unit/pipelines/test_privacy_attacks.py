"""What attackers get with and without each control; the whole tables are made by ``tests.performance``."""

import numpy as np

from tests.performance.privacy_attacks import SHOWN, by_heart, inversion, membership, private, stopped_early

BY_NAME = {shown.name: shown for shown in SHOWN}


def recovered(name: str) -> float:
    return float(np.mean(inversion(BY_NAME[name], steps=200)))


def test_a_gradient_gives_the_image_back_until_noise_or_company_hides_it() -> None:
    """Over 25 dB a digit is plain to see; noise of a tenth of the norm leaves less than the mean digit's 11 dB."""
    plain = recovered("nothing")
    assert plain > 25
    assert abs(recovered("clipping alone") - plain) < 1  # a shorter gradient points the same way
    assert recovered("large batch: 32 images") < plain - 8
    assert recovered("patient DP, noise 0.1") < 11


def test_members_are_known_by_their_loss_until_training_is_private_or_short() -> None:
    by_loss, by_ratio, _ = membership(by_heart, models=6)
    assert by_loss > 0.75
    assert by_ratio > 0.7
    assert membership(stopped_early, models=4)[0] < by_loss - 0.1
    hidden, _, _ = membership(private(2.0), models=2)
    assert abs(hidden - 0.5) < 0.12
