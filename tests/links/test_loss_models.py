"""Loss models that depend on the loss before: rates and bursts by their closed forms, and what they refuse."""

from collections.abc import Callable

import pytest

from links import Delay, Element, GilbertElliott, Jitter, Loss, LossCapped, LossCorrelated, LossMarkov, LossNth
from links.chance import CorrelatedChance
from tests.links_validation import loss
from tests.links_validation.report import Validation
from tests.support.wire import Wire, bound, fates

MS = 1_000_000


@pytest.mark.parametrize("validation", loss.VALIDATIONS)
def test_rate_and_bursts_are_those_of_the_closed_form(validation: Validation) -> None:
    rows = list(validation(50_000))
    assert rows
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize("burst", [1, 2, 3])
def test_capped_loss_lets_one_pass_after_the_longest_burst(burst: int) -> None:
    assert fates(bound(LossCapped(1, burst)), 12) == [n for n in range(1, 13) if n % (burst + 1)]


def test_without_correlation_loss_is_bernoulli_draw_by_draw() -> None:
    assert fates(bound(LossCorrelated(0.1, 0)), 1000) == fates(bound(Loss(0.1)), 1000)


def test_correlation_fades_with_the_distance() -> None:
    chance, rng = CorrelatedChance(0.3, 0.6), bound(Loss(0), 4).rng
    answers = [chance.draw(rng) - 0.3 for _ in range(100_000)]
    for distance in (1, 2, 4):
        products = [one * other for one, other in zip(answers, answers[distance:], strict=False)]
        assert sum(products) / len(products) / (0.3 * 0.7) == pytest.approx(0.6**distance, abs=0.02)


def test_gilbert_elliott_starts_in_the_good_state_and_changes_after_a_datagram() -> None:
    assert fates(bound(GilbertElliott(1, 1)), 6) == [2, 4, 6]
    assert fates(bound(GilbertElliott(1, 1, loss_bad=0, loss_good=1)), 6) == [1, 3, 5]


def test_the_markov_chain_goes_through_its_states_in_order() -> None:
    # Lost in a burst, received in it, lost in it, …
    assert fates(bound(LossMarkov(p13=1, p31=0, p32=1, p23=1)), 6) == [1, 3, 5]
    # Losses that are always alone.
    assert fates(bound(LossMarkov(p13=0, p14=1)), 6) == [1, 3, 5]


MODELS: list[Callable[[], Element]] = [
    lambda: LossCapped(0.3, 3),
    lambda: LossCorrelated(0.1, 0.5),
    lambda: GilbertElliott(0.05, 0.3),
    lambda: LossMarkov(0.05, 0.4),
]


@pytest.mark.parametrize("make", MODELS)
def test_another_element_in_front_does_not_shift_a_model_s_draws(make: Callable[[], Element]) -> None:
    def lost(*elements: Element) -> list[int]:
        losses = Wire(*elements, seed=3).send(*range(0, 1000 * MS, MS)).losses
        return [number for number, *_ in losses if number > 1]

    alone = lost(make())
    assert len(alone) > 30
    assert lost(Jitter("5ms"), Delay("1ms"), make(), Loss(0)) == alone


@pytest.mark.parametrize("make", MODELS)
def test_a_drop_names_its_model_and_its_reason(make: Callable[[], Element]) -> None:
    wire = Wire(make(), LossNth(1)).send(*range(100))
    kind = type(wire.pipeline.elements[0]).__name__
    reasons = {(by, reason) for _, _, by, reason in wire.losses if by != "a>b/LossNth"}
    assert {by for by, _ in reasons} == {f"a>b/{kind}"}
    assert reasons == {(f"a>b/{kind}", reason) for reason in wire.pipeline.elements[0].dropped}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LossCapped(0.3, 0), "burst 0: must be an int of at least 1"),
        (lambda: LossCorrelated(0.3, 1), "correlation 1: must be a number from 0 to below 1"),
        (lambda: LossCorrelated(1.3, 0.5), "probability 1.3: must be a number from 0 to 1"),
        (lambda: GilbertElliott(0.1, -1), "probability -1: must be a number from 0 to 1"),
        (lambda: LossMarkov(0.6, p14=0.5), r"p13 \+ p14 = 1.1: must be at most 1"),
        (lambda: LossMarkov(0.6, p31=0.5, p32=0.7), r"p31 \+ p32 = 1.2: must be at most 1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Callable[[], Element], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
