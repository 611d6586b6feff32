//! A plan in, hook tools out. Nothing is decided here.

use std::collections::BTreeMap;

use crate::databag::Changes;
use crate::document;
use crate::hook_tools::{Bag, HookTools, ShownStatus, ToolError};
use crate::reconcile::Writes;
use crate::snapshot::RelationId;
use crate::standby::StandbyPlan;
use crate::status::Status;

/// Writes the leader's changes.
///
/// # Errors
/// When `relation-set` fails for another reason than that a relation has vanished.
pub fn writes(
    tools: &HookTools<'_>,
    writes: &BTreeMap<RelationId, Writes>,
) -> Result<(), ToolError> {
    for (id, Writes { app, unit }) in writes {
        // The application bag first: it needs leadership, and without that nothing may be written.
        set(tools, *id, Bag::OwnApp, app)?;
        set(tools, *id, Bag::OwnUnit, unit)?;
    }
    Ok(())
}

/// Writes a standby's changes.
///
/// # Errors
/// When `relation-set` fails for another reason than that a relation has vanished.
pub fn standby(tools: &HookTools<'_>, plan: &StandbyPlan) -> Result<(), ToolError> {
    for (id, changes) in plan {
        set(tools, *id, Bag::OwnUnit, changes)?;
    }
    Ok(())
}

fn set(
    tools: &HookTools<'_>,
    relation: RelationId,
    bag: Bag<'_>,
    changes: &Changes,
) -> Result<(), ToolError> {
    if changes.is_empty() {
        return Ok(());
    }
    match tools.relation_set(relation, bag, &document::encode(changes)) {
        Err(error) if error.is_relation_gone() => Ok(()),
        result => result,
    }
}

/// Shows a status if it is not the one that `shown` holds.
///
/// # Errors
/// When `status-set` fails.
pub fn status(
    tools: &HookTools<'_>,
    shown: &ShownStatus,
    status: &Status,
) -> Result<(), ToolError> {
    // Setting what is shown already would renew its time, and people read that time.
    if shown.is(status) {
        return Ok(());
    }
    tools.status_set(status)
}
