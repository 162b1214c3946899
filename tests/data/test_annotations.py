from collections import Counter

import pytest
from src.data.annotations import Lists, Video, check_trainable, group_holdout, list_digest
from src.errors import UserError


def videos(groups):
    """(label, group) → videos."""
    return [Video(f"{i}.mp4", label, group, f"{i}.mp4") for i, (label, group) in enumerate(groups)]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_holdout_by_group(fraction):
    many = videos([(c, f"{c}-{g}") for c in range(5) for g in range(20) for _ in range(1 + g % 3)])
    kept, held = group_holdout(many, fraction, seed=0)
    assert not {v.group for v in kept} & {v.group for v in held}
    assert sorted(v.name for v in kept + held) == sorted(v.name for v in many)
    total = Counter(v.label for v in many)
    for label, count in Counter(v.label for v in held).items():
        assert abs(count - fraction * total[label]) <= 3
    assert group_holdout(many[::-1], fraction, 0)[1] == held[::-1]
    assert group_holdout(many, fraction, 1)[1] != held


def test_holdout_never_empties_a_class(caplog):
    kept, held = group_holdout(videos([(0, "a"), (0, "b"), (0, "c"), (1, "d"), (1, "d")]), 0.5, 0)
    assert {v.label for v in kept} == {0, 1} and {v.label for v in held} == {0}
    assert "1 of 2 classes" in caplog.text
    with pytest.raises(UserError, match="none can be held out without emptying a class"):
        group_holdout(videos([(0, "a"), (0, "a"), (1, "b")]), 0.5, 0)
    with pytest.raises(UserError, match="not between 0 and 1"):
        group_holdout(videos([(0, "a"), (0, "b")]), 1.5, 0)


def test_a_digest_is_of_the_list_not_its_order():
    some = [*videos([(0, "a"), (1, "b")]), Video("x", 0, "c", "caf\udce9.mp4")]
    assert list_digest(some) == list_digest(some[::-1])
    assert list_digest(some)["videos"] == 3 and list_digest(some) != list_digest(some[:1])


def test_one_class_is_not_enough():
    some = videos([(0, "a"), (0, "b")])
    lists = Lists(["only"], some, None, some, "data", None, "folder", official=False)
    with pytest.raises(UserError, match=r"data: there is only one class \(only\); training needs"):
        check_trainable(lists)
