"""Leases: exclusive, renewed while their holder lives, and taken over once it has shown no sign of life.

A lease on `shard-00007` is the file `shard-00007.3.json`, whose 3 is the fencing counter: who takes it over from its
holder creates `shard-00007.4.json`, exclusively. Only its owner writes a file. Clocks are never compared: a lease is
abandoned when its observer has seen no renewal for the time that the owner promised, by the observer's own clock, or at
once when the owner's process is one of this machine and has ended.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from reeldex.storage.errors import ClaimHeldError
from reeldex.storage.lease_medium import LeaseMedium
from reeldex.storage.lease_owner import LeaseOwner
from reeldex.storage.lease_record import (
    LEASE_SECONDS,
    UNNAMED,
    FoundLease,
    LeaseRecord,
    found_lease,
    is_lease_file,
    token_of,
)

log = logging.getLogger(__name__)

_RENEWALS_PER_LEASE = 6
# So that, after the pause before it, a renewal that is given up leaves time for another one within the lease.
_GIVEN_UP_AFTER = 1 / 3
_JOIN_SECONDS = 5.0

Fence = Callable[[FoundLease], None]
"""What makes it impossible for the holder of an abandoned lease to change anything."""


class Lease:
    """A lease that this process holds, and renews in a thread, until it is released or another process takes it.

    `began` is when its creation began, by `time.monotonic`; `give_up` is called with its token where it lapses.
    """

    def __init__(self, medium: LeaseMedium, mine: FoundLease, began: float, give_up: Callable[[str], None]) -> None:
        if mine.record is None:
            raise ValueError(f"{mine.name} cannot be read, and is nobody's to hold")
        self.key, self.counter, self.record = mine.key, mine.counter, mine.record
        self._medium, self._give_up = medium, give_up
        self._lost = self._deleted = False
        # When the latest renewal began: observers have seen it later, and wait longer.
        self._renewed_at = began
        self._attempts = 0
        self._released = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {mine.key}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.key}.{self.counter}.json"

    def is_held(self) -> bool:
        """Whether no other process has taken it. One that was not renewed in time is renewed first.

        Raises OSError when that fails, or the medium does not answer: another process may have taken it, or not.
        """
        if self._has_lapsed() and not self._renew_once():
            return False
        return not self._lost and self._is_ours()

    def release(self) -> None:
        """Give it back; does nothing if it was taken."""
        self._released.set()
        with self._writing:
            if self._is_ours():
                self._medium.delete(self.name)
            self._deleted = True
        # It ends at once; a process that forks next has one thread less.
        self._thread.join(_JOIN_SECONDS)

    def lapse(self) -> None:
        """Renew it no longer: unless it was released, others may take it over once its time has passed.

        This process may do so at once.
        """
        self._released.set()
        if not self._deleted:
            self._give_up(self.record.token)

    def _is_ours(self, deadline: float | None = None) -> bool:
        return token_of(self._medium.read(self.name, deadline)) == self.record.token

    def _has_lapsed(self) -> bool:
        return time.monotonic() - self._renewed_at > self.record.lease_seconds

    def _renew(self) -> None:
        failing = lapsed = False
        while not self._released.wait(self.record.lease_seconds / _RENEWALS_PER_LEASE):
            try:
                if not self._renew_once():
                    return
                failing = lapsed = False
            except OSError as error:
                if not failing:
                    log.warning("The claim %s could not be renewed, and is tried again: %s", self.name, error)
                failing = True
            if self._has_lapsed() and not lapsed:
                lapsed = True
                seconds = self.record.lease_seconds
                log.warning("The claim %s was not renewed for %g s: others may take it over", self.name, seconds)

    def _renew_once(self) -> bool:
        """Renew it, and return whether it is held; raises OSError when that takes a third of the lease."""
        began = time.monotonic()
        limit = self.record.lease_seconds * _GIVEN_UP_AFTER
        if not self._writing.acquire(timeout=limit):
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), self.name)
        try:
            if self._released.is_set() or self._lost:
                return False
            # Of a renewal that failed, the answer may have been lost: the same bytes again would be no sign of life.
            self._attempts += 1
            renewed = replace(self.record, renewals=self._attempts)
            # Once all claims are gone, a name is used again: the file may be another holder's by now.
            deadline = began + limit
            if not self._is_ours(deadline) or not self._medium.replace(self.name, renewed.content(), deadline):
                self._lost = True
                return False
            self.record, self._renewed_at = renewed, began
        finally:
            self._writing.release()
        return True


class Leases:
    """The leases of one medium. An instance remembers when it last saw a renewal: keep it while observing.

    It also remembers those of its own that could not be deleted: nobody renews them, though their process lives.
    """

    def __init__(self, medium: LeaseMedium) -> None:
        self._medium = medium
        self._given_up: set[str] = set()
        self._seen: dict[str, tuple[bytes, float, bool]] = {}

    def acquire(  # noqa: PLR0913 - all but three by keyword
        self,
        key: str,
        purpose: str,
        owner: LeaseOwner,
        *,
        lease_seconds: float = LEASE_SECONDS,
        fence: Fence = lambda _: None,
        opened: Callable[[LeaseRecord], None] = lambda _: None,
    ) -> Lease:
        """Return a new lease on `key`. Abandoned ones are taken over: `fence` is called for each, then it is deleted.

        `opened` prepares what the holder works in. Raises ClaimHeldError, naming the holder.
        """
        former = self._of(key)
        if live := [each for each in former if not self.is_abandoned(each)]:
            raise ClaimHeldError(key, str(live[-1]))
        counter = former[-1].counter + 1 if former else 1
        record = LeaseRecord(purpose, uuid.uuid4().hex, lease_seconds, 0, owner)
        mine = FoundLease(key, counter, record.content(), record)
        began = time.monotonic()
        try:
            if created := self._medium.create(mine.name, mine.content):
                opened(record)
                self._require_alone(mine, former)
                for each in former:
                    fence(each)
                    self._medium.delete(each.name)
        except BaseException:
            self._undo(mine, record, fence)
            raise
        if not created:
            raise ClaimHeldError(key, str(self._find(mine.name) or UNNAMED))
        return Lease(self._medium, mine, began, self._given_up.add)

    def _undo(self, mine: FoundLease, record: LeaseRecord, fence: Fence) -> None:
        """Delete a lease that may have been created, also one whose creation failed: the answer may have been lost."""
        self._given_up.add(record.token)
        try:
            fence(mine)
            # The name may be another holder's.
            if token_of(self._medium.read(mine.name)) == record.token:
                self._medium.delete(mine.name)
        except OSError as error:
            seconds = record.lease_seconds
            log.warning("The claim %s could not be removed; it lapses in %g s: %s", mine.name, seconds, error)

    def _require_alone(self, mine: FoundLease, former: Sequence[FoundLease]) -> None:
        """Raise ClaimHeldError if there is a lease besides `mine` and those that were found abandoned.

        This process may have been paused before it created its own. Of two that find each other, both give up.
        """
        known = {mine.name, *(each.name for each in former)}
        tokens = {token_of(each.content) for each in (mine, *former)}
        for each in self._of(mine.key):
            if each.name not in known or token_of(each.content) not in tokens:
                raise ClaimHeldError(mine.key, str(each))
        if self._find(mine.name) is None:
            raise ClaimHeldError(mine.key, UNNAMED)

    def live(self, prefix: str) -> list[FoundLease]:
        """Return the leases that are not abandoned, of the keys that begin with `prefix`."""
        return [each for each in self._all(prefix) if not self.is_abandoned(each)]

    def clear(self, prefix: str, owner: LeaseOwner, fence: Fence) -> None:
        """Take over the abandoned leases of the keys that begin with `prefix`, and release them."""
        for key in {each.key for each in self._all(prefix) if self.is_abandoned(each)}:
            try:
                lease = self.acquire(key, "clearing", owner, fence=fence)
            except ClaimHeldError:
                continue  # another process does it
            try:
                lease.release()
            finally:
                lease.lapse()

    def is_abandoned(self, found: FoundLease) -> bool:
        """Whether the holder has ended or given it up, or has shown this instance no renewal in the promised time."""
        now = time.monotonic()
        seen = self._seen.get(found.name)
        if seen is None or seen[0] != found.content:
            renewed = seen is not None and token_of(seen[0]) == token_of(found.content)
            seen = self._seen[found.name] = (found.content, now, renewed)
        since = seen[1]
        return self._has_ended(found) or now - since > found.lease_seconds

    def is_seen_alive(self, found: FoundLease) -> bool:
        """Whether the holder is known to live: its process is one of this machine, or it renewed the lease meanwhile.

        Of a holder on another machine this is not known when its lease is first seen.
        """
        if self._has_ended(found):
            return False
        if found.record is not None and found.record.owner.is_here:
            return True
        return found.name in self._seen and self._seen[found.name][2]

    def _has_ended(self, found: FoundLease) -> bool:
        record = found.record
        return record is not None and (record.token in self._given_up or record.owner.has_ended)

    def exists(self, key: str, token: str) -> bool:
        """Whether a lease of this key with this token exists, abandoned or not."""
        return any(token_of(each.content) == token for each in self._of(key))

    def _of(self, key: str) -> list[FoundLease]:
        return sorted((each for each in self._all(key) if each.key == key), key=lambda each: each.counter)

    def _all(self, prefix: str) -> list[FoundLease]:
        found = [self._find(name) for name in self._medium.list() if name.startswith(prefix)]
        return [each for each in found if each is not None]

    def _find(self, name: str) -> FoundLease | None:
        content = self._medium.read(name) if is_lease_file(name) else None
        return found_lease(name, content) if content is not None else None
