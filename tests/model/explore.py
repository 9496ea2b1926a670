"""Every state that a release can come to, breadth first, equal states merged: so that a trace is a shortest one."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import NamedTuple

from fabfile.engine.mishap import Mishap
from fabfile.plan.fleet import Template
from fabfile.plan.release import Act, Done, Staged, Stuck, Undone, Wait

from .calls import TOOLS, RefusedError
from .engine import Engine, Turn
from .invariants import Start, why_stuck, wrong_at_end, wrong_in_act, wrong_in_call, wrong_in_state
from .loops import endless
from .numbered import Numbered
from .weather import Sky, happenings
from .world import Cloud, tick, uneven_ticks


class State(NamedTuple):
    """Everything that the future depends on."""

    cloud: Cloud
    turn: Turn
    sky: Sky


# Who makes a step: time, a deadline that passes, the engine, or what is counted as an event.
TIME, DEADLINE, ENGINE, EVENT = range(4)


ALWAYS = 9


class Step(NamedTuple):
    """One way on from a state. `wrong` is what the step itself breaks."""

    label: str
    state: State
    who: int
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Violation:
    """A broken rule, and the shortest way there."""

    rule: str
    trace: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The rule without the names and numbers of this one case."""
        return _kind(self.rule)

    def __str__(self) -> str:
        return "\n".join((self.rule, *(f"    {step}" for step in self.trace)))


@dataclass
class Found:
    """What an exploration came to."""

    states: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    violations: dict[str, Violation] = field(default_factory=dict)
    whole: bool = True


class Explorer:
    """Explores one world.

    :param most: states after which it gives up; none is given up unless a change made the world infinite.
    """

    def __init__(self, engine: Engine, start: Start, most: int = 2_000_000) -> None:
        self._engine = engine
        self._start = start
        self._most = most
        self._clouds: Numbered[Cloud] = Numbered()
        self._turns: Numbered[Turn] = Numbered()
        self._skies: Numbered[Sky] = Numbered()
        self._labels: Numbered[str] = Numbered()
        self._numbers: dict[int, int] = {}
        self._states = array("Q")
        self._parents = array("l")
        self._steps = array("l")
        self._edges = array("l")
        self._kinds = array("b")
        self._offsets = array("l", [0])
        self._acts_wrong: dict[tuple[Cloud, int, int], tuple[str, ...]] = {}
        self.found = Found()

    def run(self) -> Found:
        """Visit every state."""
        start = self._start
        self._add(State(start.cloud, self._engine.start(start.cloud), start.sky), -1, "begin")
        number = 0
        while number < len(self._states):
            if len(self._states) > self._most:
                self.found.whole = False
                break
            self._visit(number)
            self._offsets.append(len(self._edges))
            number += 1
        self.found.states = len(self._states)
        if self.found.whole:
            for stuck in endless(self._offsets, self._edges, self._kinds):
                self._report("livelock: it never ends though nothing happens any more", stuck)
        return self.found

    def _visit(self, number: int) -> None:
        state = self._state(number)
        quiet = False
        for step in self.steps(state):
            target = self._add(step.state, number, step.label)
            for wrong in step.wrong:
                self._report(wrong, number, step.label)
            if step.who != EVENT:
                quiet = True
                self._edges.append(target)
                self._kinds.append(step.who)
        if not quiet and not self._is_end(state):
            self._report("dead end: nothing can come any more, and it has not ended", number)

    def _add(self, state: State, parent: int, label: str) -> int:
        cloud, turn, sky = state
        packed = self._clouds.number(cloud) << 40 | self._turns.number(turn) << 16 | self._skies.number(sky)
        number = self._numbers.get(packed)
        if number is None:
            number = self._numbers[packed] = len(self._states)
            self._states.append(packed)
            self._parents.append(parent)
            self._steps.append(self._labels.number(label))
            for wrong in wrong_in_state(state.cloud, state.sky):
                self._report(wrong, number)
            if state.turn.act < 0:
                self._note_end(state, number)
        return number

    def _state(self, number: int) -> State:
        packed = self._states[number]
        turn, sky = packed >> 16 & 0xFFFFFF, packed & 0xFFFF
        return State(self._clouds[packed >> 40], self._turns[turn], self._skies[sky])

    def _is_end(self, state: State) -> bool:
        return state.turn.act < 0 and isinstance(
            self._engine.decision(state.cloud, state.turn), Done | Undone | Stuck | Staged
        )

    def _note_end(self, state: State, number: int) -> None:
        end = self._engine.decision(state.cloud, state.turn)
        if isinstance(end, Act | Wait):
            return
        self.found.ends[type(end).__name__] += 1
        record = self._engine.records[state.turn.record]
        if isinstance(end, Done | Undone):
            for wrong in wrong_at_end(self._start, state.cloud, record, state.sky, end):
                self._report(wrong, number)
        elif isinstance(end, Stuck):
            why = why_stuck(record, end)
            self.found.ends[f"Stuck: {why}"] += 1
            if why is None:
                self._report(f"stuck: without need: {end.reason}", number)

    def steps(self, state: State) -> Iterator[Step]:
        """Yield every way on from a state."""
        cloud, turn, sky = state
        engine = self._engine
        if turn.act >= 0:
            yield from self._called(state)
            # Time between a look and its call may be long; between two calls of one act nothing new can come of it.
            if turn.made == 0:
                yield from self._timed(state, engine.later(cloud, turn), "the moment comes nearer")
        else:
            decision = engine.decision(cloud, turn)
            if isinstance(decision, Act):
                yield self._begun(state, decision)
            elif isinstance(decision, Wait):
                again = engine.look_again(cloud, cloud, turn)
                if again != turn:
                    yield Step("looks again", State(cloud, again, sky), TIME)
                yield from self._timed(state, engine.expire(cloud, turn, decision), f"too long: {decision.what}")
            else:
                return
        if sky.events:
            record = engine.records[turn.record]
            meant = engine.meant(turn)
            for label, after, then in happenings(cloud, engine.nature, sky, self._start.sky, record, meant):
                yield Step(label, self._seen(state, after, then), EVENT)
        if sky.crashes:
            yield from self._killed(state, "killed")

    def _timed(self, state: State, late: Turn | None, why_late: str) -> Iterator[Step]:
        """Let time pass: everything moves at once, or something has been quicker or slower than the rest.

        :param late: the engine when a moment has come that it waits for.
        """
        cloud, turn, sky = state
        nature, taken = self._engine.nature, self._engine.taken[turn.record]
        after = tick(cloud, nature, taken)
        if after is not cloud:
            yield Step("time", self._seen(state, after, sky), TIME)
            if not sky.slow and not nature.elb_checks:  # whose cloud may never come to rest
                return
            sky = sky if sky.slow in (0, ALWAYS) else sky._replace(slow=sky.slow - 1)
            for label, uneven in uneven_ticks(cloud, nature, taken) if state.sky.slow else ():
                yield Step(label, self._seen(state, uneven, sky), TIME)
        if late is not None:
            yield Step(why_late, State(cloud, late, sky), DEADLINE)

    def _seen(self, state: State, after: Cloud, sky: Sky) -> State:
        """Return a state after time or the environment: where the engine looks, it sees the new world."""
        turn = state.turn
        return State(after, self._engine.look_again(state.cloud, after, turn) if turn.act < 0 else turn, sky)

    def _begun(self, state: State, act: Act) -> Step:
        cloud, turn, sky = state
        after = self._engine.act(cloud, turn, act)
        key = (cloud, turn.record, sky.wish)
        wrong = self._acts_wrong.get(key)
        if wrong is None:
            wrong = self._acts_wrong[key] = tuple(wrong_in_act(self._engine, cloud, after.record, act, sky))
        return Step(self._decides(act), State(cloud, after, sky), ENGINE, wrong)

    @cache  # noqa: B019 - an explorer is used once
    def _decides(self, act: Act) -> str:
        given = {each.name: getattr(act, each.name) for each in fields(act)}  # type: ignore[arg-type]
        words = [f"{name}={_brief(value)}" for name, value in given.items() if name not in ("tags", "token", "subnet")]
        return f"decides {type(act).__name__}({', '.join(words)})"

    def _called(self, state: State) -> Iterator[Step]:
        cloud, turn, sky = state
        engine = self._engine
        call = engine.call(turn)
        less = sky._replace(events=sky.events - 1)
        try:
            after, then = engine.make(cloud, turn)
        except RefusedError as refused:
            mishap = Mishap.CONTRADICTION if refused.moved else Mishap.FAILED
            failed = State(cloud, engine.fail(cloud, turn, mishap), sky)
            yield Step(f"{call.name} is refused: {refused}", failed, ENGINE)
            return
        wrong = tuple(f"race: {each}" for each in wrong_in_call(cloud, call, engine.records[turn.record]))
        yield Step(call.name, State(after, then, sky), ENGINE, wrong)
        if sky.events:
            yield Step(f"{call.name} fails", State(cloud, engine.fail(cloud, turn), less), EVENT)
            if call.name in TOOLS:
                failed = State(cloud, engine.fail(cloud, turn, Mishap.FINAL), less)
                yield Step(f"{call.name} cannot be done", failed, EVENT)
            else:
                lost = State(after, engine.fail(after, turn), less)
                yield Step(f"{call.name} works, and its answer is lost", lost, EVENT)
            if call.name == "RunInstances":
                failed = State(cloud, engine.fail(cloud, turn, Mishap.CAPACITY), less)
                yield Step(f"there is no capacity in zone {call.zone}", failed, EVENT)
        if sky.crashes:
            yield from self._killed(State(after, turn, sky), f"killed after {call.name}")

    def _killed(self, state: State, label: str) -> Iterator[Step]:
        cloud, turn, sky = state
        for how, on in self._engine.resume(cloud, turn):
            yield Step(f"{label}; {how}", State(cloud, on, sky._replace(crashes=sky.crashes - 1)), EVENT)

    def _report(self, rule: str, number: int, last: str | None = None) -> None:
        key = _kind(rule)
        if key in self.found.violations:
            return
        trace = [] if last is None else [last]
        while number >= 0:
            trace.append(self._labels[self._steps[number]])
            number = self._parents[number]
        self.found.violations[key] = Violation(rule, tuple(reversed(trace)))


def _kind(rule: str) -> str:
    return " ".join("#" if any(map(str.isdigit, word)) else word for word in rule.split())


def _brief(value: object) -> str:
    if isinstance(value, Template):
        return f"version {value.version}"
    return " ".join(sorted(map(str, value))) if isinstance(value, tuple | frozenset) else str(value)


def explored(engine: Engine, start: Start, most: int = 2_000_000) -> Found:
    """Explore a world with a fresh engine: nothing is left of another exploration."""
    return Explorer(replace(engine), start, most).run()
