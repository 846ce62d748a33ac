"""Models that hold more than tensors: sequences and optionals keep their kinds, without which no runtime loads them."""

from __future__ import annotations

import numpy as np
import pytest

from haste_export import compress
from tests.exporter.models import assert_same_function, filters, haste_convs, text_model

WEIGHTS = {
    "w": filters(16, 16, 3, 3),
    "axis": np.array(1),
    "none": np.array(0),
    "last": np.array(-1),
    "trips": np.array(2),
}
CONV = "[conv] c = Conv <pads = [1,1,1,1]> (x, w)\n"


@pytest.mark.parametrize(
    "body",
    [
        "s = SequenceConstruct (c, x)\n y = SequenceAt (s, last)",
        "s = SplitToSequence <axis = 1> (c, axis)\n t = Identity (s)\n y = ConcatFromSequence <axis = 1> (t)",
        "s = SequenceEmpty ()\n t = SequenceInsert (s, c)\n u = SequenceInsert (t, x)\n y = SequenceAt (u, none)",
        """s = SequenceEmpty ()
        all = Loop (trips, , s) <body = step (int64 i, bool go, seq(float[1,16,9,8]) had) => (bool on, has) {
            on = Identity (go)
            r = Relu (c)
            has = SequenceInsert (had, r)
        }>
        y = ConcatFromSequence <axis = 1> (all)""",
        """flag = Constant <value = bool {1}> ()
        s = If (flag) <
            then_branch = one () => (a) { a = SequenceConstruct (c) },
            else_branch = two () => (b) { b = SequenceConstruct (x, c) }>
        y = SequenceAt (s, none)""",
        "o = Optional (c)\n z = OptionalGetElement (o)\n y = Relu (z)",
    ],
)
def test_other_kinds_than_tensors(body: str, has_library: bool) -> None:
    model = text_model(CONV + body, WEIGHTS, outputs="float[n,c,h,k] y")
    small = compress(model, skip_first=0, select="all")
    assert len(haste_convs(small)) == 1
    assert_same_function(model, small, library=has_library)
