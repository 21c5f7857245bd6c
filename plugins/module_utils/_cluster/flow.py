# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a cluster from what it is to what was declared: data directory, settings, server.

The steps come in an order in which each may be the last one of a killed run: the next run looks at the
disk and at the server, and does what is still missing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._cluster import (
    candidate,
    live,
    location,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.plan import (
    Declared,
    changed_names,
    refuse_beaten,
    refuse_contradictions,
    refuse_problems,
    refuse_slots_without_room,
    refuse_too_low_for_standby,
    standby_minimums,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.rules import RulesFile
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.settings import SettingsPlan
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory import initdb, inspection
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.initdb import NewCluster
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Layout
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.postmaster import (
    Postmaster,
    running_postmaster,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    CannotConnect,
    Login,
    Server,
    connect,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import Expected
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.proof import prove
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.on_server import SlotServer
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import Action, Wanted
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import system_runner
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import wait_until

RUNNING_STATES = ("started", "restarted", "reloaded")


@dataclass(frozen=True)
class Proof:
    """What a server has to prove once it runs, and for how many seconds that is waited for."""

    expected: Expected
    timeout: float


@dataclass(frozen=True)
class Intent:
    """What a task asks for."""

    state: str
    declared: Declared
    new: NewCluster
    rules: Sequence[str] | None = None
    """Lines of our block in pg_hba.conf; None leaves it as it is."""
    initial_settings: Mapping[str, str] = field(default_factory=dict)
    initialize: bool = False
    slots: Sequence[str] = ()
    """Physical slots that a new cluster is made with."""
    slot_record: str | None = None
    restart: bool = True
    timeout: float = 60.0
    proof: Proof | None = None


@dataclass
class Outcome:
    """What was done, or would be in check mode, in this order."""

    actions: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""
    changed_settings: list[str] = field(default_factory=list)
    cleared_overrides: list[str] = field(default_factory=list)
    rules: RulesFile | None = None
    pending_restart: list[str] = field(default_factory=list)
    running: bool = False
    in_recovery: bool | None = None
    system_identifier: str | None = None
    superuser_password_is_set: bool = False
    made_slots: list[str] = field(default_factory=list)
    recovery_state: dict[str, Any] | None = None

    def said(self) -> dict[str, Any]:
        """What the module returns of it; the texts are for the difference, the state stands alone."""
        hidden = ("before", "after", "rules", "recovery_state")
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in hidden}


class Cluster:
    """One cluster, while it is brought to what was declared."""

    def __init__(self, layout: Layout, owner: User, intent: Intent, check_mode: bool) -> None:
        self._layout = layout
        self._paths = layout.paths
        self._owner = owner
        self._run = system_runner(owner)
        self._intent = intent
        self._check_mode = check_mode
        self._validated = False
        self.outcome = Outcome()

    def converge(self) -> Outcome:
        try:
            return self._converge()
        except Refusal as refusal:
            if self.outcome.actions:
                raise
            raise Refusal(f"{refusal}; nothing was changed", **refusal.details) from None

    def _converge(self) -> Outcome:
        data = inspection.inspect(self._paths.data_directory, self._owner, self._paths.bin_directory or None)
        self._refuse_unfit(data)
        missing = data.state in (State.ABSENT, State.EMPTY)
        if missing and self._intent.state == "stopped":
            return self.outcome
        if self._intent.state == "stopped" and data.running:
            self._do("stopped", lambda: self._layout.service(self._owner).stop(self._intent.timeout))
        if missing:
            self._create(data)
        elif not self._paths.has_configuration:
            self._do("adopted", self._configure)
        plan = self._plan()
        self._settle(plan, data)
        if self._intent.state in RUNNING_STATES:
            self._serve(plan, data)
        self._admit()
        self._reserve()
        self._observe(data)
        self._prove()
        return self.outcome

    def _do(self, action: str, work: Any) -> None:
        """The one place where check mode stops."""
        self.outcome.actions.append(action)
        if not self._check_mode:
            work()

    # --- the data directory ---

    def _refuse_unfit(self, data: DataDirectory) -> None:
        paths = self._paths
        if not self._has_programs and not self._check_mode:
            raise WalstreamError(
                f"PostgreSQL {paths.version or ''} is not installed on this host: install its server package, or "
                "name the folder of its programs with 'bin_directory'"
            )
        if data.state in (State.PARTIAL, State.UNKNOWN):
            raise Refusal(f"{data.path} {data.reason}: no server is run on it")
        if data.version and data.version != paths.version:
            raise Refusal(
                f"{data.path} belongs to PostgreSQL {data.version}, not {paths.version}: name that version, or another "
                "data directory"
            )

    def _create(self, data: DataDirectory) -> None:
        if not self._intent.initialize and self._awaits_clone:
            self._do("adopted", self._configure)
            return
        if not self._intent.initialize:
            raise WalstreamError(
                f"{data.path} {data.reason}, so there is no cluster to run: clone one into it "
                "(walstream.postgresql.basebackup), or allow a new one with 'initialize'"
            )
        plan = self._plan()
        self._validate(plan, data)  # a wrong setting is refused before anything is made
        refuse_slots_without_room(self._intent.slots, plan.configuration.values())
        self.outcome.superuser_password_is_set = self._intent.new.takes_password
        self._do("created", lambda: self._make(data))

    @property
    def _awaits_clone(self) -> bool:
        """In check mode no earlier task has cloned what this one would adopt."""
        return self._check_mode and bool(self._intent.declared.options.get("primary_conninfo"))

    def _make(self, data: DataDirectory) -> None:
        self.outcome.superuser_password_is_set = initdb.initialize(
            data, self._intent.new, self._paths.bin_directory, self._owner, self._run
        )
        if not self._paths.has_configuration:
            self._configure()

    def _configure(self) -> None:
        self._layout.configure(self._owner, self._intent.new.locale, self._intent.initial_settings)

    # --- the settings ---

    def _plan(self) -> SettingsPlan:
        with self._owner.effective():
            return SettingsPlan.read(self._paths, self._intent.declared)

    def _validate(self, plan: SettingsPlan, data: DataDirectory) -> None:
        """Nothing is installed that the server would not start with, as far as that can be known."""
        paths = self._paths
        refuse_problems(plan.configuration)
        refuse_beaten(plan.configuration, paths.settings_file, plan.wanted)
        effective = plan.configuration.values()
        refuse_contradictions(effective)
        if data.state is State.STANDBY:
            argv = [os.path.join(paths.bin_directory, "pg_controldata"), "-D", paths.data_directory]
            minimums = standby_minimums(self._run(argv).stdout)
            refuse_too_low_for_standby(effective, minimums)
        if self._has_programs:
            candidate.refuse_unacceptable(plan.configuration.settings, paths, self._owner, self._run)
        self._validated = True

    @property
    def _has_programs(self) -> bool:
        """Where PostgreSQL is not installed yet, check mode goes on without them."""
        return bool(self._paths.bin_directory and self._paths.version)

    def _settle(self, plan: SettingsPlan, data: DataDirectory) -> None:
        outcome = self.outcome
        outcome.before, outcome.after = plan.before or "", plan.after or ""
        outcome.changed_settings = changed_names(plan.ours, plan.wanted)
        outcome.cleared_overrides = list(plan.overridden)
        if not plan.is_settled:
            if not self._validated:
                self._validate(plan, data)
            self._do("configured", lambda: self._install(plan))
        if plan.overridden:
            self._do("overrides cleared", lambda: self._clear_overrides(plan.overridden))

    def _install(self, plan: SettingsPlan) -> None:
        paths = self._paths
        files.make_directory(os.path.dirname(paths.settings_file), self._owner, self._layout.folder_mode)
        if plan.after is not None and plan.after != plan.before:
            files.write(paths.settings_file, plan.after, self._owner, self._layout.settings_mode)
        if plan.main is not None:
            files.rewrite(paths.config_file, plan.main, self._owner)

    def _clear_overrides(self, names: tuple[str, ...]) -> None:
        """By ALTER SYSTEM where a server runs, because only it may write its file then."""
        postmaster = running_postmaster(self._paths.data_directory)
        if postmaster is None:
            text = files.read(self._paths.auto_file) or ""
            files.rewrite(self._paths.auto_file, guc_file.without(text, set(names)), self._owner)
            return
        with self._connect(postmaster) as server:
            for name in names:
                live.reset_system_setting(server, name)

    # --- the server ---

    def _connect(self, postmaster: Postmaster) -> Server:
        """Log in. Rules that keep us out may be mended by what is declared, or be mended and only wait to be loaded."""
        login = location.local_login(postmaster, self._owner.name)
        try:
            return connect(login)
        except CannotConnect:
            if self._check_mode:
                raise
            rules = self._rules()
            if not rules.is_settled:
                self._do("rules written", lambda: rules.install(self._owner))
            live.let_clock_pass(self._paths.loaded_files())
            os.kill(postmaster.pid, signal.SIGHUP)
            found = wait_until(lambda: _try_to_connect(login), lambda server: server is not None, 1.0)
            if found is None:
                raise
            self.outcome.actions.append("reloaded")
            return found

    def _serve(self, plan: SettingsPlan, data: DataDirectory) -> None:
        if not data.running:
            self._do("started", self._start)
            return
        postmaster = self._ready_postmaster()
        with self._connect(postmaster) as server:
            pending = self._load(server)
            restart = self._intent.state == "restarted" or (bool(pending) and self._intent.restart)
            self.outcome.pending_restart = [] if restart else pending
            fallback = self._fallback(server, plan, pending) if restart else None
        if restart:
            if not self._validated:
                self._validate(plan, data)
            self._do("restarted", lambda: self._restart(fallback))

    def _admit(self) -> None:
        """The rules come after the server and its settings: until then its own, narrower ones hold."""
        rules = self.outcome.rules = self._rules()
        if rules.is_settled:
            return
        if self._intent.state in RUNNING_STATES:
            self._do("rules loaded", lambda: self._try_rules(rules))
        else:
            self._do("rules written", lambda: rules.install(self._owner))

    def _rules(self) -> RulesFile:
        path = self._paths.file_named("hba_file", "pg_hba.conf", self._paths.configuration())
        return RulesFile.planned(path, self._intent.rules, self._owner)

    def _try_rules(self, rules: RulesFile) -> None:
        """Rules that the server does not take, or by which it lets us in no more, never stay."""
        postmaster = self._ready_postmaster()
        with self._connect(postmaster) as server:
            rules.install(self._owner)
            try:
                self._reload(server)
                # The postmaster accepts nobody while it loads, so this login is judged by the new rules already.
                connect(location.local_login(postmaster, self._owner.name)).close()
            except WalstreamError as error:
                rules.put_back(self._owner)
                live.let_clock_pass([rules.path])
                os.kill(postmaster.pid, signal.SIGHUP)
                raise Refusal(
                    f"with the rules that are declared for {rules.path} {error}; the former ones are in force again: "
                    "correct postgresql_hba, or the option 'hba'"
                ) from None

    def _reserve(self) -> None:
        """Keep a new cluster's WAL from its first moment on for those who are about to be cloned from it."""
        is_new = "created" in self.outcome.actions
        if is_new and self._intent.slots and self._intent.state in RUNNING_STATES:
            self._do("slots made", self._make_slots)
            self.outcome.made_slots = list(self._intent.slots)

    def _make_slots(self) -> None:
        with self._connect(self._ready_postmaster()) as server:
            slots = SlotServer(server, record_file=self._intent.slot_record)
            for name in self._intent.slots:
                slots.apply(Action.CREATE, Wanted(name))

    def _start(self) -> None:
        live.let_clock_pass(self._paths.loaded_files())
        self._layout.service(self._owner).start(self._intent.timeout)

    def _ready_postmaster(self) -> Postmaster:
        """A server that has just been started by somebody else may still be recovering."""
        path, timeout = self._paths.data_directory, self._intent.timeout
        seen = wait_until(lambda: running_postmaster(path), lambda now: now is None or now.is_ready, timeout)
        if seen is None or not seen.is_ready:
            raise WalstreamError(
                f"the server in {path} does not accept connections after {timeout:g} seconds: it may still recover, "
                f"see {self._paths.log_file}; run again later or raise 'timeout'"
            )
        return seen

    def _load(self, server: Server) -> list[str]:
        """Reload where a file is newer than what the server runs with; return what waits for a restart."""
        outcome = self.outcome
        changes = bool({"configured", "overrides cleared"} & set(outcome.actions))
        newer = live.newer_files(server, self._paths.loaded_files(), live.look(server))
        if newer or changes or self._intent.state == "reloaded":
            self._do("reloaded", lambda: self._reload(server))
        if not self._check_mode:
            return list(live.look(server).pending_restart)
        contexts = live.contexts(server, outcome.changed_settings)
        at_restart = {name for name, context in contexts.items() if context == "postmaster"}
        return sorted(at_restart | set(live.look(server).pending_restart))

    def _reload(self, server: Server) -> None:
        live.let_clock_pass(self._paths.loaded_files())
        live.reload(server, self._intent.timeout)

    def _fallback(self, server: Server, plan: SettingsPlan, pending: list[str]) -> str | None:
        """Settings with which the server ran: the file as it was, or with the values that are still in force."""
        if plan.before != plan.after:
            return plan.before or guc_file.render({})
        running = live.running_values(server, [name for name in pending if name in plan.wanted])
        return guc_file.render({**plan.wanted, **running}) if running else None

    def _restart(self, fallback: str | None) -> None:
        """Stop and start. A value of ours with which the server does not start never leaves it stopped."""
        service, timeout = self._layout.service(self._owner), self._intent.timeout
        service.refuse_unstartable()
        service.stop(timeout)
        try:
            self._start()
        except WalstreamError as error:
            if fallback is None or running_postmaster(self._paths.data_directory):
                raise
            files.write(self._paths.settings_file, fallback, self._owner, self._layout.settings_mode)
            try:
                self._start()
            except WalstreamError as second:
                raise WalstreamError(
                    f"{error}; with its former settings it does not start either: {second}"
                ) from None
            raise WalstreamError(f"{error}; its former settings are in force again, and it runs") from None

    def _observe(self, data: DataDirectory) -> None:
        """What is true afterwards, read back from the disk and, where it should run, from the server."""
        outcome = self.outcome
        outcome.system_identifier = data.system_identifier
        outcome.in_recovery = None if data.control is None else data.state is State.STANDBY
        postmaster = running_postmaster(self._paths.data_directory)
        outcome.running = postmaster is not None
        if postmaster is None or self._intent.state not in RUNNING_STATES:
            return
        with self._connect(postmaster) as server:
            loaded = live.look(server)
        outcome.system_identifier = loaded.system_identifier
        outcome.in_recovery = loaded.in_recovery
        if not self._check_mode:
            outcome.pending_restart = list(loaded.pending_restart)

    def _prove(self) -> None:
        proof = self._intent.proof
        if proof is None or self._check_mode:
            return
        login = location.local_login(self._ready_postmaster(), self._owner.name)
        self.outcome.recovery_state = prove(login, proof.expected, proof.timeout)


def _try_to_connect(login: Login) -> Server | None:
    try:
        return connect(login)
    except CannotConnect:
        return None
