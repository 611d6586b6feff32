//! A plan in, hook tools out.

use std::collections::BTreeMap;

use super::look;
use crate::core::names::RelationId;
use crate::core::plan::{Applied, Plan, Role, Writes};
use crate::core::wire::Changes;
use crate::juju::document;
use crate::juju::hook_tools::{Bag, HookTools, ToolError};

/// Writes the bags of each relation, then the ledger. Juju commits all of them together or none.
///
/// A relation that turns out not to be served is passed over, and the ledger says that its bags may
/// not show it. So the ledger comes last.
///
/// # Errors
/// When `relation-set` fails for another reason than that Juju does not serve a relation.
pub(super) fn plan(
    tools: &HookTools<'_>,
    peer: RelationId,
    plan: Plan,
) -> Result<Applied, ToolError> {
    let mut unserved = Vec::new();
    for (id, Writes { app, unit }) in &plan.writes {
        // The application bag first: no mirror is up without its choice beside it.
        if !(set_app(tools, *id, app, unit)? && set_unit(tools, *id, unit)?) {
            unserved.push(*id);
        }
    }
    let applied = plan.applied(&unserved);
    let changes = match applied.plan.role {
        Role::Leader => applied.ledger_changes(),
        Role::Standby => BTreeMap::new(),
    };
    if !changes.is_empty() {
        tools.ledger_set(peer, &document::encode(&changes))?;
    }
    Ok(applied)
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

/// Shows the status, unless it is shown already: setting it again would renew its time, and people
/// read that time. The leader speaks for the application, too: otherwise the row of the application
/// in `juju status` shows what any unit says. The tools only speak to people, so their failure is a
/// warning.
pub(super) fn status(tools: &HookTools<'_>, applied: &Applied) {
    let status = applied.status();
    let (is_of_unit, is_of_application) =
        match (applied.plan.role, applied.plan.compares_the_status) {
            (Role::Leader, false) => {
                let is_shown = !applied.changes_the_status();
                (is_shown, is_shown)
            }
            (Role::Leader, true) => match tools.status_get_of_all() {
                Ok(shown) => (
                    shown.unit_is(tools.own_unit(), &status),
                    shown.application_is(&status),
                ),
                Err(error) => (unknown(&error), false),
            },
            (Role::Standby, _) => match tools.status_get() {
                Ok(shown) => (shown.is(&status), true),
                Err(error) => (unknown(&error), true),
            },
        };
    let unit = (!is_of_unit).then(|| tools.status_set(&status));
    let application = (!is_of_application).then(|| tools.status_set_of_application(&status));
    for error in [unit, application]
        .into_iter()
        .flatten()
        .filter_map(Result::err)
    {
        tracing::warn!("the status cannot be shown: {error}");
    }
}

fn unknown(error: &ToolError) -> bool {
    tracing::warn!("the status that is shown is not known: {error}");
    false
}
