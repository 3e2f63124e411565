"""When a request may be sent again, after how long, and how often in all."""

from __future__ import annotations

import pytest

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.hedge import Hedge, Times
from modelport.client.retry import Budget, Retry, is_repeatable
from modelport.errors import ClientError

CALL = Call("http://127.0.0.1:1", 30.0, 1e12, "sentiment")

NOT_RUN = [
    faults.refused(CALL),
    faults.unresolved(CALL, "x"),
    faults.unreachable(CALL, "no route"),
    faults.overloaded(CALL, "Exceeds maximum queue size"),
    faults.not_ready(CALL, "Request for unknown model: 'm' has no available versions"),
]
PERHAPS_RUN = [
    faults.not_ready(CALL, "20 sequences are live, which is the most"),
    faults.overloaded(CALL, "the model's own words"),
    faults.lost(CALL, "reset"),
    faults.server_fault(CALL, "Stub is not healthy."),
]
ELSEWHERE = [faults.not_found(CALL, "x"), PERHAPS_RUN[-1]]
NEVER = [
    faults.invalid(CALL, "x"),
    faults.not_found(CALL, "x"),
    faults.deadline(CALL),
    faults.server_fault(CALL, "division by zero"),
    faults.protocol(CALL, "x"),
    faults.unauthorized(CALL, "x"),
    faults.closed(CALL),
]


@pytest.mark.parametrize("error", NOT_RUN, ids=lambda e: type(e).__name__)
def test_what_no_server_has_run_may_always_be_repeated(error: ClientError) -> None:
    assert is_repeatable(error, idempotent=False)


@pytest.mark.parametrize("error", PERHAPS_RUN, ids=lambda e: type(e).__name__)
def test_what_a_server_may_have_run_is_repeated_only_if_that_does_no_harm(
    error: ClientError,
) -> None:
    assert is_repeatable(error, idempotent=True, others=True)
    assert not is_repeatable(error, idempotent=False, others=True)


@pytest.mark.parametrize("error", ELSEWHERE, ids=lambda e: type(e).__name__)
def test_what_one_server_cannot_do_is_sent_to_another(error: ClientError) -> None:
    assert is_repeatable(error, idempotent=True, others=True)
    assert not is_repeatable(error, idempotent=True)


def test_a_model_that_was_there_a_moment_ago_is_waited_for() -> None:
    assert is_repeatable(ELSEWHERE[0], idempotent=False, served=True)


@pytest.mark.parametrize("error", NEVER, ids=lambda e: type(e).__name__)
def test_what_would_fail_again_is_not_repeated(error: ClientError) -> None:
    assert not is_repeatable(error, idempotent=True)


def test_pauses_double_up_to_the_longest_and_differ() -> None:
    retry = Retry(backoff_s=0.1, max_backoff_s=1.0)
    for attempt, longest in [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (1000, 1.0)]:
        drawn = {retry.pause_s(attempt) for _ in range(50)}
        assert all(longest / 2 <= pause <= longest for pause in drawn)
        assert len(drawn) > 10


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"backoff_s": -1}, {"budget": -0.1}])
def test_a_wrong_setting_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ClientError, match="attempts must be 1 or more"):
        Retry(**wrong)  # type: ignore[arg-type]


def test_a_budget_limits_repeats_to_a_share_of_the_successes() -> None:
    budget = Budget(0.125, burst=4.0)
    assert [budget.spend() for _ in range(6)] == [True] * 4 + [False] * 2
    for _ in range(16):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


def test_a_budget_saves_up_to_its_burst() -> None:
    budget = Budget(1.0, burst=2.0)
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


def test_the_delay_of_a_hedge_is_a_quantile_of_recent_times() -> None:
    times = Times(Hedge(quantile=0.9))
    for milliseconds in range(31):
        times.add(milliseconds / 1000)
    assert times.delay_s is None
    for milliseconds in range(31, 101):
        times.add(milliseconds / 1000)
    assert times.delay_s == pytest.approx(0.9 * 0.096, abs=0.004)  # renewed at every 32nd


def test_a_given_delay_of_a_hedge_is_kept() -> None:
    times = Times(Hedge(after_s=0.01))
    for _ in range(100):
        times.add(1.0)
    assert times.delay_s == 0.01


@pytest.mark.parametrize("wrong", [{"quantile": 1.0}, {"quantile": 0.0}, {"max_extra": 1.5}])
def test_a_wrong_hedge_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ClientError, match="quantile must lie between 0 and 1"):
        Hedge(**wrong)
