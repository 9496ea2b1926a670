"""Mutations of what looks, writes and acts: the loop, its hands and eyes, the record, the lock, and several groups."""

from __future__ import annotations

from .mutation import lies

_LOOP = lies(
    "fabfile.engine.loop",
    ("tests/engine/test_loop.py",),
    (
        "acts before it writes what it will do",
        "record, self._write(intend(act, record, facts))",
        "record, intend(act, record, facts)",
    ),
    ("acts without its lock", "self.lock is not None and self.lock.lost", "False"),
    ("acts over somebody else's record", "        if not written:", "        if False:"),
    (
        "takes a busy AWS for a failure",
        "mishap in (Mishap.BUSY, Mishap.CONTRADICTION)",
        "mishap is Mishap.CONTRADICTION",
    ),
    ("takes a stale look for a failure", "mishap in (Mishap.BUSY, Mishap.CONTRADICTION)", "mishap is Mishap.BUSY"),
    ("bears a busy AWS for ever", " and self._busy < MAX_BUSY:", ":"),
    (
        "believes that it moved whom AWS refused to move",
        "            if judge(error) is Mishap.CONTRADICTION:",
        "            if False:",
    ),
    (
        "takes back what it wrote for a call that may have been heard",
        "            if judge(error) is Mishap.CONTRADICTION:",
        "            if True:",
    ),
    ("counts no failures", "failures=record.failures + 1", "failures=record.failures"),
    ("counts failures that it overcame", 'replace(settled(act, done), failures=0, trouble="")', "settled(act, done)"),
    ("forgets what AWS said that it did", "replace(settled(act, done), ", "replace(done, "),
    ("tries again what a stage refused", "mishap is Mishap.FINAL and not", "False and not"),
    (
        "turns back past the point of no return when a stage refuses",
        "mishap is Mishap.FINAL and not is_committed(record):",
        "mishap is Mishap.FINAL:",
    ),
    (
        "takes a zone without capacity for a failure",
        "if mishap is Mishap.CAPACITY and isinstance(act, LaunchInstances):",
        "if False:",
    ),
    ("asks for ever where no zone has capacity", "            if record.barren:", "            if True:"),
    ("asks another zone by the same token", "short=record.short + 1", "short=record.short"),
    (
        "forgets whom it started until EC2 lists them",
        "self.observer.expect(set(done.launched) - set(record.launched), act.image_id, record.id)",
        "pass",
    ),
    (
        "lets history know of a release that is another one's",
        "        self._claim(record)\n        at, reason",
        "        at, reason",
    ),
    ("looks for the cause before it rescues", " and not isinstance(decision, RESCUE):", ":"),
    ("never looks for the cause", "if record.owed is not None and", "if False and"),
    ("gives up a far moment when AWS is silent", " and not is_early:", ":"),
    ("hears no Ctrl-C while AWS is silent", "if self.company.stop() and self._seen is not None:", "if False:"),
    ("bears a silent AWS for ever", "if self._silent > MAX_SILENT and", "if False and"),
    ("counts silences that are over", "            self._silent, self._silent_since = 0, None\n", ""),
    ("goes on alone when another group fails", "(reason := self.company.called_off())", "(reason := None)"),
    (
        "turns back with the others past the point of no return",
        "record.undo is None and not is_committed(record) and (reason",
        "record.undo is None and (reason",
    ),
    ("does not stop when asked to", "if self.company.stop() and not isinstance(decision, Done | Undone):", "if False:"),
    (
        "stops where it is over",
        "if self.company.stop() and not isinstance(decision, Done | Undone):",
        "if self.company.stop():",
    ),
    (
        "takes what was stopped with it for a failure",
        "            if self.company.stop():  #",
        "            if False:  #",
    ),
    ("never closes its record", "            close()\n", "            pass\n"),
    ("forgets that it is staged", "staged=True", "staged=False"),
    ("sleeps past its minute", "return min(left_s,", "return max(left_s,"),
    ("forgets what is to blame", "cause=undo.cause, ", ""),
    ("goes back with its patience used up", "cause=undo.cause, failures=0,", "cause=undo.cause,"),
    (
        "writes the same wait down at each look",
        "return record if noted == record else self._write(noted)",
        "return self._write(noted)",
    ),
)

_MISHAP = lies(
    "fabfile.engine.mishap",
    ("tests/engine/test_mishap.py",),
    ("tries a refusal again", "if isinstance(error, Exit):", "if False:"),
    ("takes an empty fleet for a failure", "if isinstance(error, NoCapacityError):", "if False:"),
    ("does not know what lack of capacity is", '    "InsufficientInstanceCapacity",\n', ""),
    ("takes contention for a failure", '    "ResourceContention",\n', ""),
    ("takes a scaling activity for a failure", '    "ScalingActivityInProgress",\n', ""),
    ("takes throttling for a failure", '    "RequestLimitExceeded",\n', ""),
    ("takes a lost connection for a failure", "(code is None and _is_connection(error))", "False"),
    ("takes an instance that is attached already for a failure", '    "is already part of",\n', ""),
    ("takes an instance that is in Standby already for a failure", '    "is not in InService",\n', ""),
    ("takes an instance that EC2 does not know yet for a failure", "code in _OUTDATED or ", ""),
)

_TAGS = "        ec2.tag_resources(self._settings, act.ids, {STANDBY_TAG: act.release})\n"
_STANDS = "        autoscaling.enter_standby(self._settings, act.ids)\n"
_HANDS = lies(
    "fabfile.engine.act",
    ("tests/engine/test_act.py",),
    (
        "puts into Standby without a tag",
        _TAGS,
        "",
    ),
    (
        "puts into Standby before it tags",
        _TAGS + _STANDS,
        _STANDS + _TAGS,
    ),
    ("detaches without a tag", "        ec2.tag_resources(self._settings, act.ids, {LEAVING_TAG: act.release})\n", ""),
    ("starts instances without a tag", ", RELEASE_TAG: act.release}", "}"),
    ("pauses nothing", "        autoscaling.pause(self._settings, act.pause)\n", ""),
    ("resumes nothing", "        autoscaling.resume(self._settings, act.resume)\n", ""),
    ("shrinks the group with what it retires", "act.ids, shrink=False)", "act.ids, shrink=True)"),
    ("shrinks the group with what it drops", "act.ids, shrink=act.shrink)", "act.ids, shrink=True)"),
    ("forgets whom it started", "(*record.launched, *ids)", "record.launched"),
    ("forgets whom it started before", "(*record.launched, *ids)", "ids"),
    ("asks for the rest of a fleet in vain", "short=record.short + bool(why_fewer)", "short=record.short"),
    ("takes a fleet of none for a fleet", "        if not ids:", "        if False:"),
    ("forgets that it migrated", "migrated=True", "migrated=False"),
)

_EYES = lies(
    "fabfile.engine.observe",
    ("tests/engine/test_observe.py",),
    ("forgets an instance that one answer left out", "self._known.get(instance_id) or", "read.get(instance_id) or"),
    ("does not see its newborn", " or self._expected.get(instance_id)", ""),
    ("waits for EC2 to know an instance that is on its way out", " and m.lifecycle is not leaving)", ")"),
    ("does not see whom the group lists and EC2 does not know", "            unseen=unseen,\n", ""),
    ("takes status checks for passed", "(key in self._passed or i.in_group)", "True"),
    ("asks for status checks that have passed", "sorted(outside - self._passed)", "sorted(outside)"),
    ("does not see the group's own verdict", ", group_healthy=member.healthy", ""),
    ("does not see who is shielded", ", protected=member.protected)", ")"),
    (
        "does not ask those in Standby",
        "(Lifecycle.OUTSIDE, Lifecycle.STANDBY)\n",
        "(Lifecycle.OUTSIDE,)\n",
    ),
    ("forgets the looks before", "before=self._recent()", "before=None"),
    (
        "keeps all looks for ever",
        "islice(self._last.looks(), self._settings.release.confirmations)",
        "self._last.looks()",
    ),
    (
        "does not look for those on their way out",
        "leave = is_committed(record) or record.undo is not None",
        "leave = False",
    ),
    (
        "looks for those on their way out only on the way there",
        "leave = is_committed(record) or record.undo is not None",
        "leave = is_committed(record)",
    ),
    ("sees no gate", "shut=shut or {}", "shut={}"),
)

_ORDERS = lies(
    "fabfile.engine.operate",
    ("tests/engine/test_operate.py",),
    ("goes on with a dead process's patience", "failures=0, marks=marks", "failures=0"),
    (
        "forgets the point of no return when it goes on",
        "marks = ((COMMITTED, committed),) if committed else ()",
        "marks = ()",
    ),
    (
        "goes on with a release by another order",
        "    elif (record.version, record.kind) != (order.version, order.kind):",
        "    elif False:",
    ),
    ("puts back what cannot be put back", "if committed and record.undo is None:", "if False:"),
    ("forgets what was wished before", "wish=_joined(record.wish, order.wish)", "wish=order.wish"),
    ("stays staged", "staged=False, wish=", "wish="),
    ("migrates on a rollback", "migrates=forward and", "migrates="),
    ("sends a canary ahead of a rollback", " if forward else 0,", ","),
    (
        "takes a wish for none for no wish",
        "return otherwise if wished is None else wished",
        "return wished or otherwise",
    ),
    ("begins past its minute", "why_not_now(order.wish, facts) or ", ""),
    ("begins although an alarm does not exist", " or why_not_watched(release.alarms, facts)", ""),
    ("begins although a hook would not run", 'release.launch_hooks == "refuse" and', "False and"),
    ("puts a fleet aside for its own version", "return record.staged and another and", "return record.staged and"),
)

_FROZEN = lies(
    "fabfile.engine.operate",
    ("tests/engine/test_wishes.py::test_refuses_to_release_in_a_freeze_window_and_writes_down_who_did_all_the_same",),
    (
        "releases in a freeze window",
        "return why_frozen(read_windows(settings.release.freeze), order.wish.at or facts.at)",
        "return None",
    ),
    ("takes no word for an override", " or order.wish.override is not None:", ":"),
)

_JOURNAL = lies(
    "fabfile.engine.journal",
    ("tests/engine/test_ownership.py", "tests/engine/test_journal.py"),
    ("claims that it wrote what it did not", "                return False\n", "                return True\n"),
    ("takes anybody's record for its own", " or token_of(stored.body, _WRITER) != self._writer:", ":"),
    (
        "takes its own record for somebody else's",
        "stored is None or token_of(stored.body, _WRITER) != self._writer:",
        "True:",
    ),
    ("writes the very bytes that another wrote", "{**plain(record), _WRITER: self._writer, ", "{**plain(record), "),
    ("keeps the record of what has ended", "        self.sweep()\n", ""),
    ("writes no history", "self._bucket.create(self._chapter_key(record), written(chapter))", "pass"),
    ("goes on with what has ended", "return None if self._has_ended(record) else record", "return record"),
    (
        "sorts chapters by the clocks of their writers",
        'f"{prefix}{number:06}-{_tail(record)}"',
        "prefix + _tail(record)",
    ),
    ("has a release end before it began", "max(at, record.started_at)", "at"),
    ("writes a second chapter of the same release", "if key.endswith(_tail(record))), new)", "if False), new)"),
    (
        "takes a record that cannot be removed for a failure",
        '            _log.debug("%s not removed", self._key, exc_info=True)\n',
        "            raise\n",
    ),
)

_END = lies(
    "fabfile.engine.loop",
    ("tests/engine/test_ownership.py",),
    ("decides anew although history may have its end", "        if self._ended:", "        if False:"),
)

_REGIONS = (
    *lies(
        "fabfile.engine.places",
        ("tests/engine/test_regions.py",),
        ("takes groups of one name in two regions for one", 'f"{settings.region}/{settings.group}"', "settings.group"),
        ("does not see an earlier Headway at work", " or read_owner(bucket, settings.group, ttl_s)", ""),
    ),
    *lies(
        "fabfile.engine.journal",
        ("tests/engine/test_regions.py",),
        (
            "goes on with what was begun in another env",
            "found is None or found[0].env != self._former.env",
            "found is None",
        ),
        ("forgets what an earlier Headway began", "if found is None and self._former is not None:", "if False:"),
        ("takes another env's past for its own", " if each.env == self._former.env)", ")"),
    ),
    *lies(
        "fabfile.engine.operate",
        ("tests/engine/test_regions.py",),
        (
            "does not wait for an earlier Headway",
            " if journal.is_former else nullcontext()",
            " if False else nullcontext()",
        ),
    ),
)

_PLACES = (
    *lies(
        "fabfile.engine.operate",
        ("tests/engine/test_ownership.py",),
        ("takes the place of those that wait without a word", "        lock.dismiss()\n", ""),
    ),
    *lies(
        "fabfile.engine.convoy",
        ("tests/engine/test_ownership.py",),
        ("takes their place in several groups without a word", "            lock.dismiss()\n", "            pass\n"),
    ),
    *lies(
        "fabfile.engine.lock",
        ("tests/engine/test_waiting.py",),
        (
            "takes places before its order is judged",
            "lock.dismiss = partial(line.dismiss, ticket, older)",
            "line.dismiss(ticket, older)",
        ),
        (
            "takes places at once before its order is judged",
            "lock.dismiss = partial(line.dismiss, ticket, [standing.key for standing in waiting])",
            "line.dismiss(ticket, [standing.key for standing in waiting])",
        ),
    ),
)

_LOCK = lies(
    "fabfile.engine.lock",
    ("tests/engine/test_lock.py", "tests/engine/test_ownership.py"),
    ("believes in a lock that was taken from it", "            self._gone = True\n", "            pass\n"),
    ("believes in a lock that it cannot renew", "return self._gone or self._is_overdue()", "return self._gone"),
    (
        "takes the lock of the living",
        "if reason := _why_kept(holder, self._ttl_s, stored.age_s, trusting=trusting):",
        "if reason := None:",
    ),
    ("never takes over from the dead", "if silent_s < ttl_s + SLACK_S else None", "if True else None"),
    ("never gives its lock back", "            self._claim.remove()\n", "            pass\n"),
)

_CONVOY = lies(
    "fabfile.engine.convoy",
    ("tests/engine/test_convoy.py",),
    (
        "leaves the others alone when one group fails",
        "if each.group != group and (trouble := each.trouble):",
        "if False:",
    ),
    ("cuts all groups over at once unasked", "elif ahead and not self._together:", "elif False:"),
    ("cuts groups over one by one when asked for all at once", "elif ahead and not self._together:", "elif ahead:"),
    ("begins in one group although another is refused", "            if not order.abort:", "            if False:"),
)

IN_THE_ENGINE = (
    *_LOOP,
    *_MISHAP,
    *_HANDS,
    *_EYES,
    *_ORDERS,
    *_FROZEN,
    *_JOURNAL,
    *_END,
    *_PLACES,
    *_REGIONS,
    *_LOCK,
    *_CONVOY,
)
