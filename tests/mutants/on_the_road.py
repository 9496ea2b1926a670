"""Mutations of the road itself: what is done before traffic, in traffic, and in which order."""

from __future__ import annotations

from .mutation import lies

_ROAD = lies(
    "fabfile.plan.decide",
    ("tests/plan/test_traffic.py", "tests/plan/test_warming.py", "tests/plan/test_decide.py"),
    ("skips the wait for warm instances", "        or warming.warm(side, goal, record, facts)\n", ""),
    ("skips the wait for health", "        or traffic.healthy(side, goal, record, facts)\n", ""),
    ("forgets the migration", "        or warming.migrate(side, goal, record)\n", ""),
    ("never says that it is staged", "        or warming.stage(side, goal, record, facts)\n", ""),
    ("cuts over before its minute", "        or warming.until(side, goal, record, facts)\n", ""),
    ("cuts over before the other groups are warm", "        or warming.gate(side, record, facts)\n", ""),
    (
        "makes no room before it moves anything",
        "        or (traffic.room(record, facts, len(side.outside)) if side.outside else None)\n",
        "",
    ),
    ("does not watch the canary", "        or traffic.canary(side, goal, record, facts)\n", ""),
    ("leaves autoscaling on the old version", "        or traffic.point(side, facts)\n", ""),
    (
        "retires before draining",
        "        or traffic.stand_by(",
        "        or leaving.retire(side, goal, record, facts)\n        or traffic.stand_by(",
    ),
    ("lets the old fleet serve on", "        or traffic.stand_by(side, goal, record, facts)\n", ""),
    ("skips the soak", "        or traffic.soak(side, goal, record, facts)\n", ""),
    ("leaves the old fleet in Standby", "        or leaving.retire(side, goal, record, facts)\n", ""),
    ("forgets to restore the group", "        or leaving.restore(side, goal, record, facts)\n", ""),
    ("leaves both fleets to scale-in", "        or traffic.protect(side, record)\n", ""),
    ("cuts over however late it is", "        or warming.late(side, goal, record, facts)\n", ""),
    ("does not see lost health", "        or _lost(side, goal, record, facts)\n", ""),
    ("hears no alarm", "        or _alarmed(side, goal, record, facts)\n", ""),
    ("does not listen to the group's own verdict", "        or _judged(side, record, facts)\n", ""),
    ("blames a version for a failing machine", "len(judged) <= len(record.attached) // LOST_IN", "not judged"),
    (
        "ends on the way back before the old fleet serves again",
        "        or _returned(side, goal, record, facts)\n",
        "",
    ),
    ("recalls the old fleet late", "        _turn_back(side, record, facts)\n        or ", "        "),
)

_TURNING = lies(
    "fabfile.plan.decide",
    (
        "tests/plan/test_decide.py",
        "tests/plan/test_traffic.py",
        "tests/plan/test_waiting.py",
        "tests/plan/test_leaving.py",
    ),
    ("never gives up on failing calls", "record.undo is None and record.failures >= MAX_FAILURES", "False"),
    (
        "turns back past the point of no return when calls fail",
        "if is_committed(record) else Undo(why)",
        "if 0 else Undo(why)",
    ),
    ("tries to put back for ever", "record.failures >= MAX_FAILURES * 2", "False"),
    ("acts on instances that EC2 does not know yet", "    if not facts.unseen:", "    if True:"),
    (
        "waits for ever for an instance that EC2 does not know",
        "if facts.at < since + timedelta(seconds=UNSEEN_S) else",
        "if 1 else",
    ),
    ("ends on a single look", "    if holds(facts, goal.confirmations, is_over):", "    if is_over(facts):"),
    ("leaves a group on $Latest", "if facts.group.pinned != record.before.template.version:", "if False:"),
    ("recalls before it aims autoscaling back", "    if point := traffic.point(side, facts):", "    if point := None:"),
    ("recalls before it shields who serves", " or traffic.protect(side, record) or back", " or back"),
    ("recalls what others put into Standby", "and i.standby == record.id]", "and i.standby]"),
    (
        "recalls only what answers",
        "and i.standby == record.id]",
        "and i.standby == record.id and i.answers is not False]",
    ),
    (
        "waits for ever for one that does not serve again",
        "    return None if is_over(wait, facts) else wait",
        "    return wait",
    ),
    (
        "waits for those to serve again whom others took out",
        "if i.standby == record.id and i.in_group",
        "if i.in_group",
    ),
    (
        "waits for nobody to serve again whom the group has in service",
        "        if not facts.healthy_everywhere(i.id)\n",
        "        if i.lifecycle is not Lifecycle.IN_SERVICE\n",
    ),
    (
        "blames a version for a machine that died",
        "if i.power is Power.RUNNING and not i.group_healthy]",
        "if not i.group_healthy]",
    ),
    (
        "takes one sick look for lost health",
        "holds(facts, goal.confirmations, lambda look: not look.healthy_everywhere(instance_id))",
        "not facts.healthy_everywhere(instance_id)",
    ),
    ("blames a version for what a person put into Standby", "if is_sick(i) and not is_taken(i))", "if is_sick(i))"),
    ("turns back for one machine of twenty", "len(record.watched) // LOST_IN", "0"),
    ("forgives a sick instance of twenty", " and all(is_gone(instance_id) for instance_id in sick):", ":"),
    (
        "believes an alarm that one look heard",
        "holds(facts, goal.confirmations, lambda look: name in look.alarms and look.alarms[name].sounds)",
        "facts.alarms[name].sounds",
    ),
    ("turns back for an alarm that sounded before", "if name not in record.deaf and sounds(name):", "if sounds(name):"),
    ("turns back for an alarm past the point of no return", " or is_committed(record) or not any(", " or not any("),
    ("turns back for an alarm before anything new serves", " or not any(i.in_group for i in side.stay)", ""),
)

_WARMING = lies(
    "fabfile.plan.warming",
    ("tests/plan/test_warming.py",),
    (
        "brings instances back before it migrates",
        "return migrate(side, goal, record) or traffic.room(",
        "return traffic.room(",
    ),
    ("starts instances past the point of no return", "if is_settled(side, record):", "if False:"),
    ("keeps what was started twice", "    if lacking < 0:", "    if False:"),
    ("terminates as surplus what it attached", " if i.id not in record.attached]", "]"),
    (
        "terminates one too many",
        "spare[-surplus:]",
        "spare[-surplus - 1 :]",
    ),
    (
        "terminates surplus on a single look",
        '\n        return Wait("another look to agree on what is spare", facts.at, None, "look")',
        "\n        pass",
    ),
    (
        "starts another instance instead of recalling one that drains",
        "    return None if is_over(wait, facts) else wait",
        "    return None",
    ),
    (
        "launches on what a single look lacks",
        "return count_missing(_same_side(side, record, look), record, look) == lacking",
        "return True",
    ),
    (
        "launches a dying version without end",
        "if len(record.launched) > LAUNCHES_EACH * (missing + len(side.active)):",
        "if False:",
    ),
    ("starts the whole fleet beside its canary", "allowed = goal.canary - len(side.active)", "pass"),
    ("starts more than one batch", "+ goal.batch - len(side.active) - serving)", "+ goal.batch - len(side.active))"),
    ("brings back from Standby what does not answer", " and i.answers is not False", ""),
    ("starts as many as if none were warm", "    missing -= len(rested)\n", ""),
    ("has a staged fleet serve", "return goal.stage or Gate.CUTOVER", "return Gate.CUTOVER"),
    ("has a warm fleet serve before its minute", " or (goal.at is not None and facts.at < goal.at)", ""),
    (
        "has a warm fleet serve before the others are ready",
        "goal.stage or Gate.CUTOVER in facts.shut or",
        "goal.stage or",
    ),
    (
        "asks a zone without capacity again",
        "for zone in group.subnets if zone not in record.barren}",
        "for zone in group.subnets}",
    ),
    (
        "puts the whole fleet into one zone",
        "key=lambda zone: (filled[zone] + share[zone], zone)",
        "key=lambda zone: zone",
    ),
    ("uses a token twice", "{len(ours)}-{record.short}", "{record.short}"),
    ("asks again in vain by the same token", "-{len(ours)}-{record.short}", "-{len(ours)}"),
    (
        "knows only from its record whom it started",
        "{*record.launched, *(i.id for i in facts.instances.values() if i.release == record.id)}",
        "{*record.launched}",
    ),
    ("asks for the way back by a token of the way there", "{'f' if side.forward else 'b'}", "f"),
    ("starts thousands in one call", "count = min(share, LAUNCHED_A_CALL)", "count = share"),
    ("forgets the spot instances that it has", " - sum(i.spot for i in side.active)", ""),
    ("migrates time and again", " and not record.migrated else None", " else None"),
    ("migrates on the way back", "if side.forward and goal.migrates", "if goal.migrates"),
    (
        "is staged on a single look",
        "return all(i in look.instances and look.instances[i].is_warm for i in ids)",
        "return True",
    ),
    ("cuts over with less than a fleet", "if ready < _needed(goal, record):", "if False:"),
    (
        "cuts over long after its minute",
        "if not waited and facts.at > goal.at + timedelta(seconds=LATE_S):",
        "if False:",
    ),
    ("calls it late that it waited for the others", "if not waited and facts.at", "if facts.at"),
    ("prepares the group hours before its minute", "    if facts.at < prepare_at:", "    if False:"),
    ("starts a timed fleet at once", "    if facts.at >= start_at:", "    if True:"),
    (
        "keeps its minute waiting for a newcomer",
        "    return (\n        side.forward\n",
        "    return False and (\n        side.forward\n",
    ),
)

_TRAFFIC = lies(
    "fabfile.plan.traffic",
    ("tests/plan/test_traffic.py", "tests/plan/test_warming.py", "tests/plan/test_decide.py"),
    ("pauses what is suspended already", "pause=PAUSED - group.suspended)", "pause=PAUSED)"),
    (
        "takes a zone's last instance while another zone has more",
        "max(waiting, key=lambda i: left[i.zone])",
        "waiting[-1]",
    ),
    ("lets the old fleet go in a slow start", "not facts.slow_start_s or not side.forward", "not side.forward or True"),
    ("waits for a slow start on the way back", "not facts.slow_start_s or not side.forward", "not facts.slow_start_s"),
    ("does not make room again", "if short or awake or unraised:", "if awake or unraised:"),
    ("does not pause again after a crash", "if short or awake or unraised:", "if short or unraised:"),
    ("does not raise the maximum again after a crash", "if short or awake or unraised:", "if short or awake:"),
    ("raises a maximum again that somebody lowered", "group.max == record.before.max < raised", "group.max < raised"),
    (
        "lowers the maximum to make room",
        "max(group.max, group.desired + more, raised if unraised else 0)",
        "group.desired + more",
    ),
    ("shields a fleet for ever", "if not record.prepared or not moving:", "if not record.prepared:"),
    ("shields the new fleet alone", "(*side.stay, *side.leave)", "side.stay"),
    ("attaches the whole fleet beside its canary", "    if not is_proven(side, goal, record, facts):", "    if False:"),
    (
        "attaches what is cold",
        "ready = [i.id for i in side.outside if i.is_warm]",
        "ready = [i.id for i in side.outside]",
    ),
    ("attaches to a group that wants fewer", "Resize(there) if there > facts.group.desired else Attach(", "Attach("),
    (
        "trusts one look at health",
        "holds(facts, goal.confirmations, lambda look: look.healthy_everywhere(instance_id))",
        "facts.healthy_everywhere(instance_id)",
    ),
    ("trusts counts", "    if sure == len(ids) or (", "    if sure >= min(len(ids), record.wanted) or ("),
    ("waits on the way back for more than is needed", "(not side.forward and sure >= demand(record, facts))", "False"),
    (
        "leaves a sick fleet in since the old one is sick",
        "any(facts.healthy_everywhere(i.id) for i in side.leave)",
        "True",
    ),
    ("takes out the only fleet that serves", " and not any(facts.healthy_everywhere(i.id) for i in side.leave)", ""),
    ("takes a canary for proven at once", "facts.at >= since + timedelta(seconds=goal.canary_s)", "True"),
    (
        "takes a canary for proven because it is there",
        "for i in side.active) > goal.canary",
        "for i in side.active) >= goal.canary",
    ),
    ("takes all old instances out at once", "[: max(replaced, 0)]", ""),
    ("moves any number of ids in one call", "serving[:IDS_A_CALL]), record.id)", "serving), record.id)"),
    (
        "has Standby take a group below its minimum",
        "return Resize(there) if there > group.desired else None",
        "return None",
    ),
    (
        "asks for more than a lowered maximum allows before Standby",
        "        return PrepareGroup(max=there, pause=frozenset())",
        "        there = group.max",
    ),
    (
        "asks for more than the maximum allows before it attaches",
        "there = min(_count_there(facts), facts.group.max)",
        "there = _count_there(facts)",
    ),
    (
        "takes an old instance out that serves before one that does not",
        "    while waiting:\n",
        "    first, waiting = [], list(serving)\n    while waiting:\n",
    ),
    (
        "lets instances go that still finish requests",
        "        or (i.lifecycle is Lifecycle.STANDBY and not facts.out_everywhere(i.id))\n",
        "",
    ),
    (
        "lets instances go that enter Standby",
        "(Lifecycle.PENDING, Lifecycle.ENTERING_STANDBY, Lifecycle.IN_SERVICE)",
        "(Lifecycle.PENDING, Lifecycle.IN_SERVICE)",
    ),
    ("has a group at its minimum shrink", "shrink=facts.group.desired > facts.group.min", "shrink=True"),
    ("cuts the soak short", "if goal.soak_s and side.leave and facts.at < wake:", "if False:"),
    (
        "lets old instances go before the other groups serve",
        "    if shut := facts.shut.get(Gate.COMMIT):",
        "    if shut := None:",
    ),
)

ON_THE_ROAD = (*_ROAD, *_TURNING, *_WARMING, *_TRAFFIC)
