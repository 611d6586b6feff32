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

/// Shows a status, unless Juju shows it already: setting it again would renew its time, and people
/// read that time. Both tools only speak to people, so their failure is a warning.
pub(super) fn status(tools: &HookTools<'_>, status: &Status) {
    match tools.status_get() {
        Ok(shown) if shown.is(status) => {}
        Ok(_) => set_status(tools, status),
        Err(error) => {
            tracing::warn!("the status that is shown is not known: {error}");
            set_status(tools, status);
        }
    }
}

/// Shows a status.
pub(super) fn set_status(tools: &HookTools<'_>, status: &Status) {
    if let Err(error) = tools.status_set(status) {
        tracing::warn!("the status cannot be shown: {error}");
    }
}
