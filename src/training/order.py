"""Order sensitivity: what a test says with the head's time steps shuffled, reversed and each hidden.

How time is rearranged stands in src/models/order.py. Every variant is tested like the true order, over all views of
each video, and McNemar's exact test compares the two video by video. What does not see order (average pooling) is not
computed with another one: its scores are those of the true order, to the last bit.
"""

from dataclasses import replace

import numpy as np

from src.models.order import Variant, backwards, each_hidden, shuffled
from src.models.recognizer import Recognizer
from src.runs.records import Changed, Order, Shuffled
from src.scores import Scores
from src.statistics import deviation, sign_test
from src.text import mean_of, number, probability


def variants(recognizer: Recognizer) -> list[Variant]:
    """All ways in which the network's time steps are shown; none where it has but one."""
    if recognizer.steps == 1:
        return []
    return [*shuffled(recognizer.steps), backwards(recognizer.steps), *each_hidden(recognizer.steps)]


def computed(recognizer: Recognizer) -> list[Variant]:
    """Those that can change anything."""
    sees_order = recognizer.pooling.sees_order
    return [variant for variant in variants(recognizer) if sees_order or variant.hidden is not None]


def sensitivity(recognizer: Recognizer, true: Scores, changed: Scores) -> Order:
    """What came out.

    true: scores in the true order.
    changed: of the same videos; a row's scores are those of all `computed` variants, one behind the other.
    """
    classes = len(true.classes)
    tables: dict[Variant, Scores] = {}
    for place, variant in enumerate(computed(recognizer)):
        tables[variant] = replace(changed, scores=changed.scores[:, place * classes : (place + 1) * classes])
    outcomes = {variant: _outcome(true, tables.get(variant, true), variant) for variant in variants(recognizer)}
    top1 = round(100 * float(true.correct().mean()), 4)
    if not outcomes:
        return Order(1, top1, None, None, [])
    return Order(
        steps=recognizer.steps,
        top1=top1,
        shuffled=_summary([outcomes[variant] for variant in shuffled(recognizer.steps)]),
        reversed=outcomes[backwards(recognizer.steps)],
        hidden=[outcomes[variant] for variant in each_hidden(recognizer.steps)],
    )


def _summary(draws: list[Changed]) -> Shuffled:
    spread = deviation([draw.top1 for draw in draws])
    return Shuffled(
        top1=round(float(np.mean([draw.top1 for draw in draws])), 4),
        deviation=None if spread is None else round(spread, 4),
        drop=round(float(np.mean([draw.drop for draw in draws])), 4),
        p=float(np.median([draw.p for draw in draws])),
        draws=draws,
    )


def _outcome(true: Scores, changed: Scores, variant: Variant) -> Changed:
    before, after = true.correct(), changed.correct()
    top1 = 100 * float(after.mean())
    return Changed(
        steps=list(variant.steps) if variant.hidden is None else [variant.hidden],
        top1=round(top1, 4),
        drop=round(100 * float(before.mean()) - top1, 4),
        only_true=int((before & ~after).sum()),
        only_changed=int((after & ~before).sum()),
        p=sign_test(after.astype(np.int64) - before.astype(np.int64)).exact,
    )


def sentences(order: Order) -> list[str]:
    """The outcome for the terminal."""
    drawn, turned = order.shuffled, order.reversed
    if drawn is None or turned is None:
        return ["order: the head reads one time step, so there is nothing to shuffle, reverse or hide"]
    hidden = ", ".join(number(one.top1) for one in order.hidden)
    return [
        f"order: top-1 {number(order.top1)} %, time steps shuffled {mean_of(drawn.top1, drawn.deviation)} % "
        f"({len(drawn.draws)} draws, median p {probability(drawn.p)}), "
        f"reversed {number(turned.top1)} % (p {probability(turned.p)})",
        f"order: each of {order.steps} time steps hidden: {hidden} %",
    ]
