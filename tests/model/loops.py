"""Roads without an end in a graph of states: cycles that a quiet world never leaves."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

DEADLINE, ENGINE = 1, 2


def endless(offsets: array[int], edges: array[int], kinds: array[int]) -> Iterator[int]:
    """Yield a state of each cycle that is no mere waiting.

    A cloud may turn in circles (a group that replaces what is sick, and again) as long as the engine's next call or a
    deadline leads out; a cycle in which the engine acts is one that it could go round for ever, but for a deadline.

    :param offsets: where each state's edges begin in `edges`; one more than there are states.
    :param kinds: who makes each step.
    """
    for component in _components(offsets, edges):
        inside = set(component)
        cyclic, acts, ways_out = len(component) > 1, False, set()
        for state in component:
            for n in range(offsets[state], offsets[state + 1]):
                within = edges[n] in inside
                cyclic = cyclic or edges[n] == state
                acts = acts or (within and kinds[n] == ENGINE)
                if not within:
                    ways_out.add(kinds[n])
        if cyclic and DEADLINE not in ways_out and (acts or ENGINE not in ways_out):
            yield min(component)


def _components(offsets: array[int], edges: array[int]) -> Iterator[list[int]]:
    """Yield the strongly connected components (Tarjan's algorithm, without recursion)."""
    count = len(offsets) - 1
    order = array("l", [-1]) * count
    low = array("l", [0]) * count
    on_stack = bytearray(count)
    stack: list[int] = []
    clock = 0
    for root in range(count):
        if order[root] >= 0:
            continue
        order[root] = low[root] = clock
        clock += 1
        stack.append(root)
        on_stack[root] = 1
        work = [(root, offsets[root])]
        while work:
            state, n = work.pop()
            if n < offsets[state + 1]:
                work.append((state, n + 1))
                target = edges[n]
                if order[target] < 0:
                    order[target] = low[target] = clock
                    clock += 1
                    stack.append(target)
                    on_stack[target] = 1
                    work.append((target, offsets[target]))
                elif on_stack[target]:
                    low[state] = min(low[state], order[target])
                continue
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[state])
            if low[state] == order[state]:
                yield _above(state, stack, on_stack)


def _above(state: int, stack: list[int], on_stack: bytearray) -> list[int]:
    """Take a component off the stack: the state that it began with, and everything above."""
    component: list[int] = []
    while not component or component[-1] != state:
        component.append(stack.pop())
        on_stack[component[-1]] = 0
    return component
