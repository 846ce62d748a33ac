from __future__ import annotations

import numpy as np
import pytest

from haste_export.evaluate.dataset import top1
from haste_export.evaluate.metrics import QualityMeter

STOCK = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
OTHER = np.array([[2.0, 1.0], [4.0, 3.0], [1.0, 0.0], [0.0, 2.0]])
LABELS = np.array([0, 1, 1, 1])


def test_numbers_by_hand() -> None:
    meter = QualityMeter(top1)
    meter.add([STOCK[:1]], [OTHER[:1]], LABELS[:1])
    meter.add([STOCK[1:]], [OTHER[1:]], LABELS[1:])
    quality = meter.result()
    assert quality.samples == 4
    assert quality.score == 0.5
    assert quality.agreement == 0.75
    assert quality.drop == 0.25
    assert quality.drop_error == pytest.approx(np.sqrt((0.25 - 0.0625) / 4))
    assert quality.error == pytest.approx(np.sqrt((16 + 1) / (5 + 9 + 1 + 1)))
    assert quality.cosine == pytest.approx((1 + 0.6 + 1 + 1) / 4)


def test_without_labels_the_drop_is_the_disagreement() -> None:
    meter = QualityMeter(None)
    meter.add([STOCK], [OTHER], None)
    quality = meter.result()
    assert quality.score is None
    assert quality.drop == 0.25


def test_nothing_added() -> None:
    with pytest.raises(ValueError, match="no sample"):
        QualityMeter(None).result()
