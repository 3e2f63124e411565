"""Which server is asked, and which is left alone: decided without a clock or a socket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.endpoints import Breaker, Endpoints, Target
from modelport.client.exchange import SequenceStep
from modelport.client.steps import Resolve
from modelport.client.url import Endpoint, parse
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    InvalidInputError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ResolveError,
    ServerRefusedError,
)

CALL = Call("http://127.0.0.1:1", 30.0, 1e12, "sentiment")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def endpoints(clock: Clock, *urls: str, breaker: Breaker | None = None) -> Endpoints:
    return Endpoints([parse(url) for url in urls], str, breaker or Breaker(), clock)


TWO = ("http://127.0.0.1:1", "http://127.0.0.1:2")


def fail(these: Endpoints, target: Target, error: ClientError, times: int = 1) -> None:
    for _ in range(times):
        these.failed(target, error)


def test_calls_go_where_the_fewest_wait(clock: Clock) -> None:
    these = endpoints(clock, *TWO, "http://127.0.0.1:3")
    chosen = [these.choose(CALL) for _ in range(9)]
    assert sorted(target.in_flight for target in these.targets) == [3, 3, 3]
    slow = chosen[0]
    for target in chosen:
        if target is not slow:
            these.release(target)
    assert all(these.choose(CALL) is not slow for _ in range(6))


def test_equal_ones_share_the_calls(clock: Clock) -> None:
    these = endpoints(clock, *TWO)
    asked = set()
    for _ in range(64):  # 2^-63 to pick one only
        target = these.choose(CALL)
        asked.add(target.name)
        these.release(target)
    assert asked == set(TWO)


def test_a_sequence_stays_where_it_began_until_it_ends(clock: Clock) -> None:
    these = endpoints(clock, *TWO, breaker=Breaker(failures=1))
    begun, first, later, last = (
        SequenceStep(7, start, end)
        for start, end in ((True, False), (False, False), (False, False), (False, True))
    )
    holder = these.choose(CALL, step=begun)
    these.keep(CALL, begun, holder)
    assert all(these.choose(CALL, step=first) is holder for _ in range(9))
    assert these.choose(CALL) is not holder  # what is no part of it goes where fewer wait
    fail(these, holder, faults.refused(CALL))
    with pytest.raises(ServerRefusedError, match="left alone"):
        these.choose(CALL, step=later)
    assert these.choose(CALL, step=begun) is not holder  # any server may begin it anew
    clock.now_s += 10
    assert these.choose(CALL, step=last) is holder
    these.keep(CALL, last, holder)
    assert these.choose(CALL, step=later) is not holder  # it is the busier one


def test_one_that_failed_this_call_is_asked_last(clock: Clock) -> None:
    these = endpoints(clock, *TWO)
    first = these.choose(CALL)
    these.release(first)
    assert all(these.choose(CALL, [first]) is not first for _ in range(4))
    assert these.choose(CALL, these.targets) in these.targets


def test_a_server_that_fails_is_left_alone_then_tried_by_one_call(clock: Clock) -> None:
    these = endpoints(clock, *TWO, breaker=Breaker(failures=3, open_s=1.0))
    bad = these.targets[0]
    fail(these, bad, faults.refused(CALL), 3)
    assert {these.choose(CALL).name for _ in range(8)} == {TWO[1]}
    clock.now_s += 1.01  # the trial: chosen once, because it has nothing in flight
    assert [these.choose(CALL).name for _ in range(4)].count(TWO[0]) == 1
    these.failed(bad, faults.refused(CALL))
    clock.now_s += 1.5  # twice as long as before
    assert {these.choose(CALL).name for _ in range(4)} == {TWO[1]}
    clock.now_s += 0.6
    assert these.choose(CALL) is bad
    these.succeeded(bad)
    assert these.choose(CALL) is bad


def test_the_time_between_trials_has_a_bound(clock: Clock) -> None:
    these = endpoints(clock, TWO[0], breaker=Breaker(failures=1, open_s=1.0, max_open_s=3.0))
    waited = []
    for _ in range(5):
        these.failed(these.choose(CALL), faults.refused(CALL))
        waited.append(these.targets[0].open_for_s)
        clock.now_s += waited[-1] + 0.01
    assert waited == [1.0, 2.0, 3.0, 3.0, 3.0]


def test_when_all_are_left_alone_a_call_fails_with_what_they_failed_with(clock: Clock) -> None:
    these = endpoints(clock, *TWO, breaker=Breaker(failures=1, open_s=2.0))
    fail(these, these.targets[0], faults.lost(CALL, "gone"))
    clock.now_s += 0.5
    fail(these, these.targets[1], faults.refused(CALL))
    with pytest.raises(ConnectionLostError) as caught:  # of the one that is tried first
        these.choose(CALL)
    assert "was not asked: it failed 1 times in a row" in caught.value.what
    assert caught.value.objects["circuit_open_s"] == pytest.approx(1.5)
    assert caught.value.objects["endpoint"] == TWO[0]


@pytest.mark.parametrize(
    "healthy", [OverloadedError("full"), InvalidInputError("refused the input")]
)
def test_an_answer_is_a_sign_of_health_even_when_it_is_an_error(
    clock: Clock, healthy: ClientError
) -> None:
    these = endpoints(clock, TWO[0], breaker=Breaker(failures=2))
    target = these.targets[0]
    fail(these, target, ServerRefusedError("no"))
    these.failed(target, healthy)
    fail(these, target, ServerRefusedError("no"))
    assert these.choose(CALL) is target


def test_a_death_counts_once_however_many_calls_it_took(clock: Clock) -> None:
    these = endpoints(clock, *TWO, breaker=Breaker(failures=3, open_s=1.0))
    bad = these.targets[0]
    fail(these, bad, faults.lost(CALL, "gone"), 40)
    assert bad.open_for_s == 1.0
    clock.now_s += 1.01
    assert [these.choose(CALL).name for _ in range(4)].count(TWO[0]) == 1  # the trial
    fail(these, bad, faults.refused(CALL), 40)
    assert bad.open_for_s == 2.0


def test_a_cancelled_call_says_nothing_of_a_server(clock: Clock) -> None:
    these = endpoints(clock, TWO[0], breaker=Breaker(failures=2))
    target = these.targets[0]
    fail(these, target, faults.refused(CALL))
    these.failed(target, faults.cancelled(CALL))
    fail(these, target, faults.refused(CALL))
    with pytest.raises(ServerRefusedError, match="was not asked"):
        these.choose(CALL)


def test_after_the_end_nobody_is_chosen(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    resolve(these, ["10.0.0.1", "10.0.0.2"])
    assert len(these.take_all()) == 2
    with pytest.raises(ClientError, match="closed"):
        these.choose(CALL)
    with pytest.raises(ClientError, match="closed"):
        resolve(these, ["10.0.0.1"])


@pytest.mark.parametrize(
    "error", [NotReadyError("loads"), ModelNotFoundError("unknown"), faults.deadline(CALL)]
)
def test_a_server_that_lacks_one_model_is_asked_last_for_that_one(
    clock: Clock, error: ClientError
) -> None:
    these = endpoints(clock, *TWO, breaker=Breaker(failures=2, open_s=1.0))
    starting, other = these.targets
    for _ in range(5):
        these.failed(starting, error, "sentiment")
    assert {these.choose(CALL).name for _ in range(6)} == {other.name}
    another = replace(CALL, model="digits")
    assert these.choose(another) is starting
    assert these.choose(CALL, [other]) is starting  # when the others have failed
    clock.now_s += 6
    assert these.choose(CALL) is starting
    these.succeeded(starting, "sentiment")
    assert starting.unfit == {}


def test_names_of_models_that_there_are_not_do_not_pile_up(clock: Clock) -> None:
    these = endpoints(clock, *TWO)
    for number in range(10_000):
        these.failed(these.targets[0], ModelNotFoundError("unknown"), f"m{number}")
    assert len(these.targets[0].unfit) <= 256


def test_without_a_breaker_every_call_is_sent(clock: Clock) -> None:
    these = endpoints(clock, TWO[0], breaker=Breaker(failures=0))
    fail(these, these.targets[0], ServerRefusedError("no"), 100)
    assert these.choose(CALL) is these.targets[0]


# --- names -------------------------------------------------------------------


def resolve(these: Endpoints, answer: list[str] | ClientError) -> list[Endpoint]:
    """Carry the look-ups out; gives what was looked up."""
    steps = these.resolve(CALL)
    asked = []
    try:
        effect = next(steps)
        while True:
            assert isinstance(effect, Resolve)
            asked.append(effect.endpoint)
            effect = steps.send(answer)
    except StopIteration:
        return asked


def addresses(these: Endpoints) -> list[str]:
    return [target.endpoint.address for target in these.targets]


def test_a_name_with_several_addresses_is_several_servers(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    assert these.stale
    [asked] = resolve(these, ["10.0.0.1", "10.0.0.2"])
    assert (asked.host, asked.port) == ("triton", 8001)
    assert addresses(these) == ["10.0.0.1", "10.0.0.2"]
    assert {target.name for target in these.targets} == {"grpc://triton:8001"}
    assert not these.stale


def test_a_look_up_later_keeps_what_is_the_same(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    resolve(these, ["10.0.0.1", "10.0.0.2"])
    stays, goes = these.targets
    assert these.choose(CALL, [stays]) is goes
    clock.now_s += 31
    assert these.stale
    resolve(these, ["10.0.0.1", "10.0.0.3"])
    assert addresses(these) == ["10.0.0.1", "10.0.0.3"]
    assert these.targets[0] is stays
    assert these.take_idle() == []  # a call of it is still under way
    these.release(goes)
    assert these.take_idle() == [goes]
    assert these.take_idle() == []


def test_a_failure_lets_the_name_be_looked_up_soon(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    resolve(these, ["10.0.0.1"])
    clock.now_s += 2
    these.failed(these.targets[0], ServerRefusedError("no"))
    assert not these.stale
    clock.now_s += 1.01
    assert these.stale


def test_without_a_name_service_the_known_addresses_stay(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    resolve(these, ["10.0.0.1"])
    clock.now_s += 31
    resolve(these, ResolveError("no name service"))
    assert addresses(these) == ["10.0.0.1"]


def test_until_there_is_an_address_everybody_looks_it_up(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    waiting = these.resolve(CALL)
    assert isinstance(next(waiting), Resolve)
    assert these.stale
    waiting.close()  # cancelled
    assert these.stale
    resolve(these, ["10.0.0.1"])
    assert not these.stale


def test_a_client_that_is_closed_meanwhile_opens_nothing(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    waiting = these.resolve(CALL)
    next(waiting)
    these.take_all()
    with pytest.raises(StopIteration):
        waiting.send(["10.0.0.1"])
    assert these.targets == []


def test_a_name_that_never_had_an_address_is_an_error(clock: Clock) -> None:
    these = endpoints(clock, "grpc://triton:8001")
    with pytest.raises(ResolveError):
        resolve(these, ResolveError("no such host"))
    assert these.stale  # the next call asks again


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://[::1]:8000", "localhost:8000"])
def test_addresses_and_localhost_are_never_looked_up(clock: Clock, url: str) -> None:
    these = endpoints(clock, url)
    clock.now_s += 1e6
    assert not these.stale
    assert len(these.targets) == 1
