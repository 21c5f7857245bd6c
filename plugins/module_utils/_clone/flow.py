# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow of the module `basebackup`: discover, plan, check, apply, report."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone import external, job
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import Moves
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.options import Options
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.place import take, workspace_for
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import (
    Action,
    Leftover,
    Plan,
    Staged,
    plan,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.preflight import check_passfile
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.preparation import (
    Prepared,
    Situation,
    leads,
    prepare,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import size
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.reporter import read_progress
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.rights import make_folder
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    COMPLETE,
    JOB,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.inspection import inspect
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.identity import Identity
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.walsender import Upstream


class Basebackup:
    """One run of the module."""

    def __init__(self, options: Options, check_mode: bool) -> None:
        self._options = options
        self._check_mode = check_mode
        self._owner = options.owner
        if os.geteuid() not in {0, self._owner.uid}:
            raise WalstreamError(
                f"a data directory of '{self._owner.name}' can be made by root or by '{self._owner.name}' alone: "
                "run with become"
            )
        if options.passfile is None:
            check_passfile(options.upstream.get("passfile"), self._owner)
        change = options.passfile.change_to(options.secret) if options.passfile else None
        self._secret_change = change if change and change.needed else None
        self._upstream = Upstream(options.upstream, self._owner)
        self._is_let_in = True

    def run(self) -> dict[str, Any]:
        try:
            return self._run()
        except OSError as error:
            raise WalstreamError(
                f"the clone into '{self._options.data_directory}' failed: {error.strerror} ('{error.filename}'): "
                "see to that, and run again"
            ) from None

    def _run(self) -> dict[str, Any]:
        disk = self._inspect()
        workspace = workspace_for(disk, self._owner)
        if self._options.job and self._is_about(workspace, self._options.job):
            return self._wait_for(workspace, self._options.job, disk)
        if workspace.leftover() is Leftover.RUNNING:
            return self._attach(workspace, disk)
        identity = self._identity()
        decided = self._plan(disk, workspace, identity)
        if decided.action is Action.REFUSE:
            raise Refusal(decided.reason, data_directory_info=disk.as_dict())
        if decided.action is Action.UNCHANGED:
            if not self._check_mode:
                self._store_password()
                self._tidy(disk, workspace)
            return self._result(disk, action="unchanged", reason=decided.reason, changed=False)
        if decided.action is Action.FINISH:
            return self._finish(disk, workspace, decided)
        return self._clone(Situation(disk, workspace, identity, decided))

    # --- discover and plan ---

    def _inspect(self) -> DataDirectory:
        return inspect(self._options.data_directory, self._owner, self._options.bin_directory)

    def _identity(self) -> Identity:
        """In a check, what an earlier task only plans may be what lets us in."""
        try:
            return self._upstream.identity()
        except WalstreamError:
            if self._options.foreseen is None:
                raise
            self._is_let_in = False
            return self._options.foreseen

    def _plan(self, disk: DataDirectory, workspace: Workspace, identity: Identity) -> Plan:
        leftover = workspace.leftover()
        staged = Staged(leftover)
        vacant = disk.state in {State.ABSENT, State.EMPTY, State.PARTIAL}
        consented = self._options.desired.replace in {disk.system_identifier} - {None}
        stamp = workspace.read(COMPLETE) if leftover is Leftover.COMPLETE else None
        if stamp and (vacant or consented):
            same = stamp.get("system_identifier") == identity.system_identifier
            staged = Staged(
                leftover,
                stamp.get("system_identifier"),
                self._has_wal(stamp.get("start_lsn"), stamp.get("timeline")) if same else None,
                stamp.get("standby"),
                bool(stamp.get("verified")),
                Moves.from_dict(stamp.get("moves")).fit,
            )
        wal_available = None
        control = disk.control
        if (
            control
            and not disk.running
            and consented
            and disk.system_identifier == identity.system_identifier
        ):
            wal_available = self._has_wal(control.minimum_recovery_lsn or control.redo_lsn, disk.timeline)
        return plan(self._options.desired, disk, identity, staged, wal_available)

    def _has_wal(self, lsn: str | None, timeline: int | None) -> bool | None:
        return self._upstream.has_wal(lsn, timeline) if lsn and timeline and self._is_let_in else None

    # --- apply ---

    def _clone(self, situation: Situation) -> dict[str, Any]:
        disk, workspace = situation.disk, situation.workspace
        orphans = job.has_orphans(workspace)
        if orphans and not self._check_mode:
            # Before the preflight, which would find the slot in use by them.
            lock = workspace.try_lock()
            if lock is None:
                return self._attach(workspace, disk)
            job.end_orphans(workspace)
            os.close(lock)
        # In a check the orphans of a killed clone still hold its slot.
        ask = self._is_let_in and not (orphans and self._check_mode)
        prepared = prepare(self._options, self._upstream, situation, ask_upstream=ask)
        if self._check_mode:
            return self._forecast(disk, prepared)
        self._store_password()
        workspace, lock = take(disk, workspace)
        if lock is None:
            return self._attach(workspace, disk)
        try:
            if not _is_still(disk, self._inspect(), workspace.in_place):
                job.let_go(workspace, lock)
                return self.run()
            job.clean_up(workspace)
            if situation.is_partial:
                planned = set(map(os.path.realpath, prepared.job.external))
                external.clean(planned & set(leads(disk)), (), self._owner)
            # The worker may have fewer rights than we have where these lie.
            for path in prepared.job.external:
                make_folder(path, self._owner)
            token = job.start(prepared.job, workspace, lock, prepared.programs, self._options.timeout)
        except BaseException:
            job.let_go(workspace, lock)
            raise
        return self._wait_for(workspace, token, disk)

    def _forecast(self, disk: DataDirectory, prepared: Prepared) -> dict[str, Any]:
        how_much = "a number of bytes not known yet" if prepared.bytes is None else size(prepared.bytes)
        return self._result(
            disk,
            action="cloned",
            reason=f"{prepared.job.reason}; {how_much} would come from {self._upstream.place}, "
            f"and {size(prepared.free)} are free"
            + (
                ""
                if self._is_let_in
                else "; whether it lets this host in is known only once the run has seen to that"
            ),
            changed=True,
            bytes=prepared.bytes,
            free_bytes=prepared.free,
            moved_aside_to=prepared.job.moved_aside_to,
        )

    def _finish(self, disk: DataDirectory, workspace: Workspace, decided: Plan) -> dict[str, Any]:
        if self._check_mode:
            stamp = workspace.read(COMPLETE) or {}
            return self._result(
                disk, action="finished", reason=decided.reason, changed=True, bytes=stamp.get("bytes")
            )
        self._store_password()
        lock = workspace.try_lock()
        if lock is None:
            return self._attach(workspace, disk)
        try:
            same = _is_still(disk, self._inspect(), workspace.in_place)
            done = job.finish(disk.real_path, workspace) if same else None
        finally:
            os.close(lock)
        if done is None:
            return self.run()
        return self._result(disk, action="finished", reason=decided.reason, changed=True, **done)

    def _store_password(self) -> None:
        """Only one that the upstream has taken: by now we have logged in with it."""
        if self._options.passfile and self._secret_change:
            self._options.passfile.apply(self._options.secret)

    def _tidy(self, disk: DataDirectory, workspace: Workspace) -> None:
        """A complete copy beside a copy of the same cluster, for which nothing has moved yet, is in nobody's stead."""
        stamp = workspace.read(COMPLETE) or {}
        same = stamp.get("system_identifier") == disk.system_identifier
        if workspace.exists() and same and not Moves.from_dict(stamp.get("moves")).have_begun:
            job.discard(workspace)
        else:
            job.tidy(workspace)

    # --- wait and report ---

    @staticmethod
    def _is_about(workspace: Workspace, token: str) -> bool:
        return workspace.exists() and (workspace.read(JOB) or {}).get("token") == token

    def _attach(self, workspace: Workspace, disk: DataDirectory) -> dict[str, Any]:
        """Another run clones here: the same copy is waited for, any other is refused."""
        self._secret_change = None
        record = workspace.read(JOB) or {}
        asked = {"upstream": self._upstream.place, "slot": self._options.copy.slot}
        if any(record.get(name, value) != value for name, value in asked.items()):
            raise Refusal(
                f"another clone into '{disk.path}' is running, from {record.get('upstream')} through slot "
                f"'{record.get('slot')}': wait for its end, or end it"
            )
        reason = "another run is already cloning into this data directory"
        if self._check_mode:
            return self._result(disk, action="cloning", reason=reason, changed=True, **self._how_far(disk))
        return self._wait_for(workspace, str(record.get("token", "")), disk)

    def _wait_for(self, workspace: Workspace, token: str, disk: DataDirectory) -> dict[str, Any]:
        waiter = workspace.join()
        if waiter is None:
            return self.run()
        reason = str((workspace.read(JOB) or {}).get("reason", ""))
        if not job.wait(workspace, self._options.wait):
            os.close(waiter)
            return self._result(
                disk, action="cloning", reason=reason, changed=True, job=token, **self._how_far(disk)
            )
        outcome = job.Outcome.read(workspace)
        os.close(waiter)
        job.tidy(workspace)
        if not outcome.token:
            return self.run()  # somebody has tidied up before it could be read
        if outcome.result is not None:
            return self._result(disk, action="cloned", reason=reason, changed=True, **outcome.result)
        raise WalstreamError(
            outcome.error
            or f"the clone into '{disk.path}' was killed before its end: run again, which cleans up or completes it"
        )

    def _how_far(self, disk: DataDirectory) -> dict[str, Any]:
        return {"progress": read_progress(disk.real_path, self._owner, time.time())}

    def _result(
        self, disk: DataDirectory, *, action: str, reason: str, changed: bool, **more: Any
    ) -> dict[str, Any]:
        basebackup = {
            "action": action,
            "reason": reason,
            "data_directory": self._options.data_directory,
            "upstream": self._upstream.place,
            "system_identifier": disk.system_identifier,
            "timeline": disk.timeline,
            "start_lsn": None,
            "bytes": 0,
            "seconds": 0.0,
            "moved_aside_to": None,
            **more,
        }
        secret = [self._secret_change.diff()] if self._secret_change else []
        return {
            "changed": changed or bool(secret),
            "basebackup": basebackup,
            "diff": [self._difference(disk, changed), *secret],
        }

    def _difference(self, disk: DataDirectory, changed: bool) -> dict[str, str]:
        before = f"{disk.path}: {disk.state.value}"
        if disk.system_identifier:
            before += f" of cluster {disk.system_identifier}, timeline {disk.timeline}"
        kind = "standby" if self._options.desired.standby else "copy"
        after = f"{disk.path}: {kind} of the cluster at {self._upstream.place}" if changed else before
        return {"before": before + "\n", "after": after + "\n"}


def _is_still(before: DataDirectory, now: DataDirectory, in_place: bool) -> bool:
    """Whether the decision still holds, now that nobody else clones: the disk was read before the lock was taken."""
    same = (before.state, before.system_identifier, before.running) == (
        now.state,
        now.system_identifier,
        now.running,
    )
    return same or (in_place and before.state is State.EMPTY and now.state is State.PARTIAL)
