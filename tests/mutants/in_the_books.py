"""Mutations of facts, of what is written down, of who is who, and of how a release begins and ends."""

from __future__ import annotations

from .mutation import lies

_LEAVING = lies(
    "fabfile.plan.leaving",
    ("tests/plan/test_leaving.py", "tests/plan/test_decide.py"),
    ("lets a fleet go that is to be kept", " and not _is_kept(i, side, goal, record)]", "]"),
    (
        "leaves its instances that stopped outside the group",
        "    strays = [i.id for i in side.leave if not i.in_group] + _halted(record, facts)",
        "    strays = [i.id for i in side.leave if not i.in_group]",
    ),
    (
        "terminates strangers that stopped",
        " and i.power in halted and record.id in (i.release, i.leaving)",
        " and i.power in halted",
    ),
    ("keeps the previous fleet unasked", "return goal.keep_previous and", "return"),
    (
        "keeps an older fleet than the previous one",
        "goal.keep_previous and instance.image_id == record.before.image_id",
        "goal.keep_previous",
    ),
    ("lets a recalled fleet go on the way back", "instance.id in record.recalled or ", ""),
    ("lets another release's warm fleet go on the way back", " or instance.standby not in (None, record.id)", ""),
    ("takes no notice of a hook for leaving instances", "Retire(ids) if facts.group.end_hooks else Detach", "Detach"),
    ("removes a dead instance that somebody put into Standby", "(i.id in record.rested or i.standby)", "True"),
    (
        "leaves a dead instance in Standby",
        "and i.power not in (Power.PENDING, Power.RUNNING)",
        "and i.power is Power.STOPPED",
    ),
    (
        "leaves an instance in Standby that EC2 forgot",
        "for instance_id in facts.unseen if instance_id in record.rested]",
        "for instance_id in ()]",
    ),
    ("terminates what still finishes requests", "    if draining:", "    if False:"),
    (
        "lets what was kept warm go while it finishes requests",
        "going = [*strays, *(i.id for i in resting)]",
        "going = strays",
    ),
    (
        "waits for the last request of those who stay",
        "if i.id in going and not facts.out_everywhere(i.id)",
        "if not facts.out_everywhere(i.id)",
    ),
    (
        "waits for ever for the last request",
        "        if not is_over(wait, facts):\n            return wait\n    if strays:",
        "        return wait\n    if strays:",
    ),
    ("is done while old instances shut down", "    if not going:", "    if True:"),
    ("waits for ever for an instance that does not leave", "return Stuck(f", "return None and Stuck(f"),
    (
        "waits for what somebody else shuts down",
        "or (ours and instance.power is Power.SHUTTING_DOWN)",
        "or instance.power is Power.SHUTTING_DOWN",
    ),
    ("leaves its tag on what serves again", "    if tagged:", "    if False:"),
    (
        "leaves its tag on what is still on its way back",
        "if i.in_group and i.standby]",
        "if i.lifecycle is Lifecycle.IN_SERVICE and i.standby]",
    ),
    (
        "has a group shrink that may keep what does not serve",
        "return _unfit(side, goal, record, facts) or Resize(fit)",
        "return Resize(fit)",
    ),
    ("has a group shrink that has yet to replace the dead", "unfit = dead + [", "unfit = ["),
    (
        "waits before a group grows",
        "cut it\n        return",
        "cut it\n        return _unfit(side, goal, record, facts) or",
    ),
    ("waits for ever to shrink a group", "    return None if is_over(wait, facts) else wait", "    return wait"),
    ("puts settings back that it never changed", "    if not record.prepared:", "    if False:"),
    (
        "leaves the number as a policy lowered it",
        "    if group.desired < fit:",
        "    if False:",
    ),
    ("has the group replace nobody", "    if group.desired < fit:", "    if group.desired < fit <= len(side.active):"),
    ("leaves its shield on the new fleet", "    if shielded:", "    if False:"),
    ("takes away a shield that was there before", "        and i.id not in record.before.protected\n", ""),
    ("takes away a shield that the group gives", "        and not group.protects_new\n", ""),
    ("puts the maximum below what runs", ", group.desired)\n    ours =", ", 0)\n    ours ="),
    (
        "knows only the last maximum that it set",
        "group.max in maxima(record) and",
        "group.max == record.raised_max and",
    ),
    ("puts a maximum back that is as it was", " and group.max != maximum\n", "\n"),
    ("leaves the maximum raised", "ours = group.max in maxima(record)", "ours = False"),
    ("resumes what it did not pause", "resume = record.paused & group.suspended", "resume = group.suspended"),
    ("forgets to resume what it paused", "resume = record.paused & group.suspended", "resume = frozenset()"),
    ("resumes time and again", "resume = record.paused & group.suspended", "resume = record.paused"),
)

_LEDGER = lies(
    "fabfile.plan.ledger",
    ("tests/plan/test_ledger.py",),
    ("forgets that it raised the maximum", "raised_max=act.max", "raised_max=record.raised_max"),
    ("forgets which maximum somebody set meanwhile", "own_max=own, ", ""),
    (
        "takes its own maximum for what somebody set",
        "record.own_max if facts.group.max in maxima(record) else facts.group.max",
        "facts.group.max",
    ),
    (
        "takes a maximum of its own for somebody's when it died before it raised it again",
        "if facts.group.max in maxima(record) else",
        "if facts.group.max == record.raised_max else",
    ),
    ("forgets the maxima that it raised before", "raised=earlier, ", ""),
    ("forgets that it prepared the group", "prepared=True, ", ""),
    ("forgets what it paused", "(act.pause - facts.group.suspended)", "frozenset()"),
    ("takes what was suspended for its own", "(act.pause - facts.group.suspended)", "act.pause"),
    ("forgets whom it attached", "attached=_joined(record.attached, act.ids)", "attached=record.attached"),
    (
        "forgets whom it put into Standby",
        "return replace(record, rested=_joined(record.rested, act.ids), watched=watched)",
        "return replace(record, watched=watched)",
    ),
    (
        "does not watch who replaces the old fleet",
        "watched = _joined(record.watched, _serving_new(record, facts)) if record.undo is None else",
        "watched =",
    ),
    ("takes its own old fleet for one that was warm before", " if i not in record.rested)", ")"),
    ("forgets that it shrank the group", "case Drop(shrink=True):", "case Drop(shrink=None):"),
    ("does not mark the point of no return", "marks=(*record.marks, (COMMITTED, facts.at))", "marks=record.marks"),
    (
        "marks a point of no return on the way back",
        " if record.undo is None and record.mark(COMMITTED) is None",
        " if record.mark(COMMITTED) is None",
    ),
    (
        "takes its own resizing for autoscaling's wish",
        "resizing=(facts.group.desired, act.desired)",
        "resizing=None",
    ),
    (
        "adds its own resizing twice",
        "facts.group.desired - moved + _trimmed(record, facts)",
        "facts.group.desired - moved - _trimmed(record, facts)",
    ),
    (
        "counts a resizing that it only meant",
        "record.resizing is None or facts.group.desired == record.resizing[0]",
        "record.resizing is None",
    ),
    ("counts no resizing but the last", "resizing=None, trimmed=_trimmed(record, facts))", "resizing=None)"),
    ("counts a resizing at each act", "resizing=None, trimmed=_trimmed(", "trimmed=_trimmed("),
    ("believes all that it wrote before it died", "    record = _corrected(record, facts)\n", ""),
    (
        "takes those for rested whom it only meant to put into Standby",
        "            rested.pop(instance.id, None)\n",
        "            pass\n",
    ),
    (
        "takes those for rested who are coming back",
        "        if instance.lifecycle in COUNTED:  # whoever",
        "        if instance.lifecycle is Lifecycle.IN_SERVICE:  # whoever",
    ),
    ("takes those for attached whom it only meant to attach", "attached.pop(instance.id, None)", "pass"),
    ("forgets that it attached whom it took out again", " and instance.id not in rested:", ":"),
    (
        "forgets whom it attached although it sees them",
        "            attached[instance.id] = None\n",
        "            pass\n",
    ),
    ("forgets whom it rests although it sees them", "            rested[instance.id] = None\n", "            pass\n"),
    (
        "keeps to what it wrote although AWS refused it",
        "    def is_there(instance_id: str) -> bool:\n",
        "    def is_there(instance_id: str) -> bool:\n        return True\n",
    ),
    (
        "takes everything back that AWS refused",
        "        case _:\n            return intended\n",
        "        case _:\n            return before\n",
    ),
    ("does not watch who serves in the soak", '("canary", "soak", ', '("canary", '),
    ("begins a wait anew at each look", "    if record.mark(wait.mark) is not None:", "    if False:"),
    (
        "follows autoscaling downwards",
        "return max(had, wish, facts.group.min)",
        "return max(wish, facts.group.min)",
    ),
    (
        "does not follow autoscaling upwards",
        "return max(had, wish, facts.group.min)",
        "return max(had, facts.group.min)",
    ),
    (
        "has fewer than a minimum that somebody raised",
        "return max(had, wish, facts.group.min)",
        "return max(had, wish)",
    ),
    (
        "overwrites a maximum that somebody set",
        "    if facts.group.max not in maxima(record):",
        "    if False:",
    ),
    (
        "waits to see what AWS said that it did",
        "        case Resize() if record.resizing is not None:",
        "        case Resize() if False:",
    ),
    (
        "takes for rested whom it brought back",
        "        case ExitStandby():  #",
        "        case ExitStandby() if False:  #",
    ),
    ("takes its own raised maximum for autoscaling's", ", record.wanted))\n", ", record.wanted, 10**6))\n"),
    ("puts back more than there was", "min(record.wanted, record.before.desired)", "record.wanted"),
    ("takes those it attached for autoscaling's wish", "_place(instance_id, rested, facts) -", "0 -"),
    ("forgets the place of an instance that died", "return 0 if instance_id in rested else 1", "return 0"),
    (
        "counts an instance that enters Standby",
        "instance.lifecycle in COUNTED:\n        return 1",
        "instance.lifecycle in (*COUNTED, Lifecycle.ENTERING_STANDBY):\n        return 1",
    ),
    ("watches old instances of the same version", "if i.release == record.id))", "))"),
)

_SIDES = lies(
    "fabfile.plan.sides",
    ("tests/plan/test_sides.py", "tests/plan/test_decide.py"),
    (
        "touches what a person put into Standby",
        "instance.lifecycle is Lifecycle.STANDBY and instance.standby is None",
        "False",
    ),
    (
        "touches strangers outside the group",
        "not instance.in_group and record.id not in (instance.release, instance.leaving)",
        "False",
    ),
    ("forgets what it detached", "(instance.release, instance.leaving)", "(instance.release,)"),
    ("counts the dead", "if foreign or stray or not instance.alive:", "if foreign or stray:"),
    ("tells a version from itself by the image", "instance.release == record.id if by_release else", ""),
    ("believes that it can always turn back", "return record.mark(COMMITTED) is not None", "return False"),
    (
        "swaps the fleets on the way back",
        "return Side(old, new, record.before.template",
        "return Side(new, old, record.before.template",
    ),
    (
        "launches the new version on the way back",
        "old, new, record.before.template, record.before.image_id",
        'old, new, record.before.template, record.image_id or ""',
    ),
    ("builds up the old fleet although no new one came", "else not any(i.in_group for i in side.leave)", "else False"),
    (
        "counts those that enter Standby as serving",
        "not in RESTING)",
        "not in (Lifecycle.STANDBY,))",
    ),
    (
        "counts those in Standby as serving",
        "i.lifecycle not in RESTING",
        "i.lifecycle is not Lifecycle.ENTERING_STANDBY",
    ),
)

_FACTS = lies(
    "fabfile.plan.fleet",
    (
        "tests/plan/test_traffic.py",
        "tests/plan/test_warming.py",
        "tests/plan/test_waiting.py",
        "tests/plan/test_sides.py",
    ),
    ("is content with fewer looks", "return len(looks) == reads and all(", "return all("),
    (
        "is content with one load balancer",
        "and all(balancer.health_of(instance_id) is Health.HEALTHY",
        "and any(balancer.health_of(instance_id) is Health.HEALTHY",
    ),
    ("takes the load balancer's word alone", "            and instance.lifecycle is Lifecycle.IN_SERVICE\n", ""),
    (
        "takes draining for drained",
        "in (Health.ABSENT, Health.UNUSED)",
        "in (Health.ABSENT, Health.UNUSED, Health.DRAINING)",
    ),
    ("takes a leaving instance for alive", " and self.lifecycle is not Lifecycle.LEAVING", ""),
    ("takes an instance for warm that was not asked", "and self.answers is True", "and self.answers is not False"),
    (
        "takes an instance for warm whose status checks fail",
        "self.power is Power.RUNNING and self.checks_pass",
        "self.power is Power.RUNNING",
    ),
)

_WAITING = lies(
    "fabfile.plan.waiting",
    ("tests/plan/test_waiting.py",),
    ("waits for ever", "return wait.until is not None and facts.at >= wait.until", "return False"),
    ("has no new patience after progress", 'mark = f"{name}#{come}"', "mark = name"),
    ("does not know for how long it waited", "record.mark(mark) or facts.at", "facts.at"),
    (
        "turns back on the way back",
        "Undo(reason, ids, cause) if side.forward and not is_committed(record) else Stuck(reason, ids)",
        "Undo(reason, ids, cause)",
    ),
    ("turns back past the point of no return", " and not is_committed(record) else Stuck(", " else Stuck("),
)

_BEGIN = lies(
    "fabfile.plan.begin",
    ("tests/plan/test_begin.py", "tests/plan/test_decide.py"),
    (
        "replaces as many as the group wants, whoever serves",
        "wanted=max(group.desired, len(serving))",
        "wanted=group.desired",
    ),
    (
        "replaces as many as serve, whatever the group wants",
        "wanted=max(group.desired, len(serving))",
        "wanted=len(serving)",
    ),
    (
        "begins beside a process that it needs and that is suspended",
        '{"Launch", "Terminate", "AddToLoadBalancer"}',
        "set()",
    ),
    ("begins in a group that it cannot release to", "    if facts.group.unsupported:", "    if False:"),
    ("takes a mixed fleet for released", "carried == {version}", "version in carried"),
    (
        "takes a fleet for released that is not what the group launches",
        " and facts.version_of(facts.template_image) == version",
        "",
    ),
    (
        "forgets which alarms sounded before",
        "for name, alarm in facts.alarms.items() if alarm.sounds",
        "for name, alarm in ()",
    ),
    ("forgets who was shielded before", "for i in serving if i.protected", "for i in ()"),
)

IN_THE_BOOKS = (*_LEAVING, *_LEDGER, *_SIDES, *_FACTS, *_WAITING, *_BEGIN)
