//! A plan in, hook tools out. Nothing is decided here.

use super::look;
use crate::core::ledger::Ledger;
use crate::core::names::RelationId;
use crate::core::plan::{Plan, Writes};
use crate::core::standby::StandbyPlan;
use crate::core::status::Status;
use crate::core::wire::Changes;
use crate::juju::document;
use crate::juju::hook_tools::{Bag, HookTools, ToolError};

/// Writes the leader's changes: the bags of each relation, then the ledger. Juju commits all of them
/// together or none.
///
/// A relation that turns out not to be served is passed over, and the ledger says that its bags may
/// not show it. So the ledger comes last.
///
/// # Errors
/// When `relation-set` fails for another reason than that Juju does not serve a relation.
pub(super) fn plan(tools: &HookTools<'_>, peer: RelationId, plan: &Plan) -> Result<(), ToolError> {
    let mut ledger = plan.ledger_changes();
    for (id, Writes { app, unit }) in &plan.writes {
        // The application bag first: no mirror is up without its choice beside it.
        let is_served = set_app(tools, *id, app, unit)? && set_unit(tools, *id, unit)?;
        if let (false, Some(listed)) = (is_served, plan.ledger.relations.get(id)) {
            let (key, change) = Ledger::mark(*id, &listed.app);
            ledger.insert(key, change);
        }
    }
    match ledger.is_empty() {
        true => Ok(()),
        false => tools.ledger_set(peer, &document::encode(&ledger)),
    }
}

/// Writes a standby's changes.
///
/// # Errors
/// When `relation-set` fails for another reason than that Juju does not serve a relation.
pub(super) fn standby(tools: &HookTools<'_>, plan: &StandbyPlan) -> Result<(), ToolError> {
    for (id, changes) in plan {
        set_unit(tools, *id, changes)?;
    }
    Ok(())
}

/// Says whether Juju serves the relation.
fn set_unit(
    tools: &HookTools<'_>,
    relation: RelationId,
    changes: &Changes,
) -> Result<bool, ToolError> {
    if changes.is_empty() {
        return Ok(true);
    }
    match tools.relation_set(relation, Bag::OwnUnit, &document::encode(changes)) {
        Err(error) if error.is_relation_unserved() => Ok(false),
        written => written.map(|()| true),
    }
}

/// Says whether Juju serves the relation. `unit` are the changes of the own unit bag.
fn set_app(
    tools: &HookTools<'_>,
    relation: RelationId,
    changes: &Changes,
    unit: &Changes,
) -> Result<bool, ToolError> {
    if changes.is_empty() {
        return Ok(true);
    }
    match tools.relation_set(relation, Bag::OwnApp, &document::encode(changes)) {
        Err(error) if error.is_relation_gone() || error.is_unit_absent() => Ok(false),
        // It may also be leadership that is lost. The own unit bag decides, read or written. What
        // is written to it here goes with the hook, which fails.
        Err(error) if error.is_denied() => {
            match look::is_served(tools, relation) && set_unit(tools, relation, unit)? {
                true => Err(error),
                false => Ok(false),
            }
        }
        written => written.map(|()| true),
    }
}

/// Shows a standby's status, unless Juju shows it already: setting it again would renew its time,
/// and people read that time. The tools only speak to people, so their failure is a warning.
pub(super) fn status(tools: &HookTools<'_>, status: &Status) {
    match tools.status_get() {
        Ok(shown) if shown.is(status) => return,
        Ok(_) => {}
        Err(error) => warn_unknown(&error),
    }
    warn_unshown(tools.status_set(status));
}

/// The same of the leader, which speaks for the application, too: otherwise the row of the
/// application in `juju status` shows what any unit says.
pub(super) fn leaders_status(tools: &HookTools<'_>, status: &Status) {
    let shown = tools.status_get_of_all().inspect_err(warn_unknown).ok();
    if !shown
        .as_ref()
        .is_some_and(|shown| shown.unit_is(tools.own_unit(), status))
    {
        warn_unshown(tools.status_set(status));
    }
    if !shown.is_some_and(|shown| shown.application_is(status)) {
        warn_unshown(tools.status_set_of_application(status));
    }
}

/// Shows a leader's status that was not shown before.
pub(super) fn set_leaders_status(tools: &HookTools<'_>, status: &Status) {
    warn_unshown(tools.status_set(status));
    warn_unshown(tools.status_set_of_application(status));
}

fn warn_unknown(error: &ToolError) {
    tracing::warn!("the status that is shown is not known: {error}");
}

fn warn_unshown(set: Result<(), ToolError>) {
    if let Err(error) = set {
        tracing::warn!("the status cannot be shown: {error}");
    }
}
