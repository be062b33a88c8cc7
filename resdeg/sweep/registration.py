"""What a sweep is registered with: the rules of the claims as they were before its first step."""

from __future__ import annotations

from resdeg import files
from resdeg.analysis.rules import registered_rules
from resdeg.config import RegisteredRuns, Registration, SweepConfig, read_toml, validate
from resdeg.records import Share
from resdeg.store import SweepStore
from resdeg.sweep.plan import Plan


def registered(config: SweepConfig, store: SweepStore) -> SweepConfig:
    """Returns the configuration with the registration that its folder has, or gets now.

    It is written anew until the folder holds a record, and stays as it is from then on, whatever rules and
    plans go on with it. A folder that holds a record and has no registration never gets one: its rules are
    younger than its records.
    """
    if store.has_records():
        before = store.planned()
        registration = None if before is None else before.registration
    else:
        rules = registered_rules()
        registration = Registration(
            version=rules.version,
            date=rules.date,
            sha256=rules.sha256,
            seeds=len(config.seeds),
            depth=config.claims.depth,
            grid=_register_runs(config),
            arms={name: _register_runs(arm) for name, arm in config.arm_sweeps.items()} or None,
        )
    return config.model_copy(update={"registration": registration})


def _register_runs(config: SweepConfig) -> RegisteredRuns:
    return RegisteredRuns(
        families=config.families, depths=config.depths, seeds=config.seeds, settings=config.settings_id
    )


def write_plan(plan: Plan, *, joins: bool) -> SweepConfig:
    """Names the grid in sweep.toml, with its registration; returns the plan that stands there now.

    Args:
        joins: the plan is one more run of a grid that the folder may have, and replaces no grid.
    """
    path = plan.store.plan
    if joins and path.is_file():
        return validate(SweepConfig, {str(path): read_toml(path)})
    config, present = registered(plan.config, plan.store), plan.store.planned()
    if present is not None:
        config = _keep_arms(config, present)
    files.write(path, config.to_toml().encode())
    return config


def note_share(plan: Plan) -> None:
    """Notes in shard.json which share of the plan is trained in the folder, for those who read it there.

    The plan itself is the same for all shards, and so is sweep.toml. A sweep without a shard takes the note
    away.
    """
    path = plan.store.share_note
    if plan.shard is not None:
        note = Share(shard=str(plan.shard), run_ids=tuple(run.run_id for run in plan.share))
        files.write(path, note.to_json().encode() + b"\n")
    elif path.is_file():
        files.remove(path)


def _keep_arms(config: SweepConfig, present: SweepConfig) -> SweepConfig:
    """Adds the arms that only the folder's plan has, over the runs that it has them for.

    Otherwise their records would leave the figures and the report with the next grid that joins.
    """
    known = {grid.settings_id for grid in config.grids}
    kept_arms = {
        name: present.arms[name].model_copy(
            update={"depths": arm.depths, "families": arm.families, "seeds": arm.seeds}
        )
        for name, arm in present.arm_sweeps.items()
        if name not in config.arms and arm.settings_id not in known
    }
    return config.model_copy(update={"arms": {**config.arms, **kept_arms}})


def described(config: SweepConfig) -> str:
    """Describes the registration in a line, for the announcement of a sweep."""
    rules, registration = registered_rules(), config.registration
    if registration is None:
        return f"version {rules.version} of {rules.date}, younger than the records in this folder"
    begun = f"version {registration.version} of {registration.date} ({registration.sha256[:12]})"
    line = f"{begun}, fixed before the first step"
    if registration.sha256 != rules.sha256:
        line += (
            f"; it is kept, although this resdeg has other rules: version {rules.version} of {rules.date} "
            f"({rules.sha256[:12]})"
        )
    if registration.depth != config.claims.depth:
        witness = "none" if registration.depth is None else f"{registration.depth}"
        line += f"; claims.depth = {config.claims.depth} comes too late: the witness depth stays {witness}"
    return line
