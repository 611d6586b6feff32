//! Which hook is this? Environment values in, a [`Hook`] out.

use crate::core::names::{ENDPOINT, RelationId, UnitName};
use crate::core::turn::Occasion;

/// What Juju started us for, as far as this charm distinguishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The charm was just installed. Juju shows no relation yet.
    Install,
    /// The charm was replaced.
    Upgrade,
    /// `relation-joined`. Juju runs `relation-changed` of the same unit right after it.
    Joined(RelationId, UnitName),
    /// Something that is to be decided upon.
    Event(Occasion),
    /// An operator runs this action.
    Action(String),
    /// Nothing that concerns this charm, today or in a later Juju.
    Other,
}

/// The environment does not look like Juju's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// Not started by Juju at all.
    #[error(
        "JUJU_DISPATCH_PATH is not set: Juju starts this program for its hooks; people give it --help"
    )]
    NotAHook,
    /// A variable that this hook needs is absent or unreadable.
    #[error("{variable} is not usable in {hook}: {value:?}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// The dispatch path.
        hook: String,
        /// What it holds.
        value: String,
    },
}

impl Hook {
    /// Reads the hook from the environment that Juju gives every hook.
    ///
    /// # Errors
    /// When `JUJU_DISPATCH_PATH` is absent, or a relation hook lacks its relation or unit.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Hook, HookError> {
        // Juju sets variables to nothing where they do not apply, so empty is absent.
        let variable = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let path = variable("JUJU_DISPATCH_PATH").ok_or(HookError::NotAHook)?;
        let unusable = |name: &'static str| HookError::Variable {
            variable: name,
            hook: path.clone(),
            value: variable(name).unwrap_or_default(),
        };

        if let Some(action) = path.strip_prefix("actions/") {
            return Ok(Hook::Action(action.to_owned()));
        }
        let Some(name) = path.strip_prefix("hooks/") else {
            return Ok(Hook::Other);
        };
        let relation = || {
            variable("JUJU_RELATION_ID")
                .and_then(|id| relation_id(&id))
                .ok_or_else(|| unusable("JUJU_RELATION_ID"))
        };
        let Some(event) = name
            .strip_prefix(ENDPOINT)
            .and_then(|rest| rest.strip_prefix("-relation-"))
        else {
            return Ok(match name {
                "install" => Hook::Install,
                "upgrade-charm" => Hook::Upgrade,
                "leader-elected" => Hook::Event(Occasion::TakeOver),
                "config-changed" | "start" => Hook::Event(Occasion::Anything),
                // Without a remote unit it is the application bag that has changed.
                "cluster-relation-changed" if variable("JUJU_REMOTE_UNIT").is_none() => {
                    Hook::Event(Occasion::LedgerWritten(relation()?))
                }
                "update-status" => Hook::Event(Occasion::UpdateStatus),
                _ => Hook::Other,
            });
        };

        let unit = |name: &'static str| {
            variable(name)
                .map(|unit| unit.parse().map_err(|_| unusable(name)))
                .transpose()
        };
        Ok(match event {
            "created" => Hook::Event(Occasion::Created(relation()?)),
            "broken" => Hook::Event(Occasion::Broken(relation()?)),
            "joined" | "changed" => match unit("JUJU_REMOTE_UNIT")? {
                Some(unit) if event == "joined" => Hook::Joined(relation()?, unit),
                Some(unit) => Hook::Event(Occasion::Heard(relation()?, unit)),
                // The remote application's bag changed: consumers publish nothing there.
                None => Hook::Other,
            },
            "departed" => match (unit("JUJU_REMOTE_UNIT")?, variable("JUJU_DEPARTING_UNIT")) {
                // It is we who leave; the remote unit stays where it is.
                (_, Some(departing)) if Some(&departing) == variable("JUJU_UNIT_NAME").as_ref() => {
                    Hook::Other
                }
                (Some(unit), _) => Hook::Event(Occasion::Departed(relation()?, unit)),
                (None, _) => return Err(unusable("JUJU_REMOTE_UNIT")),
            },
            _ => Hook::Other,
        })
    }
}

/// The number at the end of a relation id such as `microcluster-cluster:7`.
pub fn relation_id(id: &str) -> Option<RelationId> {
    let (_, number) = id.rsplit_once(':')?;
    number.parse().ok().map(RelationId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Hook, HookError> {
        Hook::from_environment(|name| {
            let all = variables.iter().chain(&[("JUJU_UNIT_NAME", "mtd/0")]);
            all.rev()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn unit(name: &str) -> UnitName {
        name.parse().expect("a unit name")
    }

    #[test]
    fn dispatch_path_names_the_hook() {
        for (path, hook) in [
            ("hooks/install", Hook::Install),
            ("hooks/upgrade-charm", Hook::Upgrade),
            ("hooks/leader-elected", Hook::Event(Occasion::TakeOver)),
            ("hooks/config-changed", Hook::Event(Occasion::Anything)),
            ("hooks/start", Hook::Event(Occasion::Anything)),
            ("hooks/update-status", Hook::Event(Occasion::UpdateStatus)),
            ("hooks/stop", Hook::Other),
            ("hooks/remove", Hook::Other),
            ("hooks/a-hook-of-2031", Hook::Other),
            ("hooks/cluster-relation-created", Hook::Other),
            ("hooks/cluster-relation-departed", Hook::Other),
            ("hooks/microcluster-cluster-2-relation-changed", Hook::Other),
            ("actions/install", Hook::Action("install".to_owned())),
        ] {
            assert_eq!(parse(&[("JUJU_DISPATCH_PATH", path)]), Ok(hook), "{path}");
        }
    }

    #[test]
    fn a_relation_hook_needs_its_relation_and_unit() {
        let relation = RelationId(10);
        let unit_joined = Hook::Joined(relation, unit("microovn/3"));
        let unit_changed = Hook::Event(Occasion::Heard(relation, unit("microovn/3")));
        let departed = Hook::Event(Occasion::Departed(relation, unit("microovn/3")));
        for (event, remote, departing, hook) in [
            ("joined", "microovn/3", "", Some(unit_joined)),
            ("changed", "microovn/3", "", Some(unit_changed)),
            ("changed", "", "", Some(Hook::Other)),
            ("departed", "microovn/3", "microovn/3", Some(departed)),
            ("departed", "microovn/3", "mtd/0", Some(Hook::Other)),
            ("departed", "", "microovn/3", None),
            (
                "created",
                "",
                "",
                Some(Hook::Event(Occasion::Created(relation))),
            ),
            (
                "broken",
                "",
                "",
                Some(Hook::Event(Occasion::Broken(relation))),
            ),
            ("changed", "microovn", "", None),
        ] {
            let read = parse(&[
                (
                    "JUJU_DISPATCH_PATH",
                    &format!("hooks/microcluster-cluster-relation-{event}"),
                ),
                ("JUJU_RELATION_ID", "microcluster-cluster:10"),
                ("JUJU_REMOTE_UNIT", remote),
                ("JUJU_DEPARTING_UNIT", departing),
            ]);
            assert_eq!(read.ok(), hook, "{event} {remote:?} {departing:?}");
        }
    }

    #[test]
    fn only_the_application_bag_of_the_peer_relation_is_the_ledger() {
        let peer = RelationId(1);
        for (remote, hook) in [
            ("", Hook::Event(Occasion::LedgerWritten(peer))),
            ("mtd/1", Hook::Other),
        ] {
            let read = parse(&[
                ("JUJU_DISPATCH_PATH", "hooks/cluster-relation-changed"),
                ("JUJU_RELATION_ID", "cluster:1"),
                ("JUJU_REMOTE_UNIT", remote),
            ]);
            assert_eq!(read, Ok(hook), "{remote:?}");
        }
    }

    #[test]
    fn without_juju_there_is_a_clear_error() {
        assert_eq!(parse(&[]), Err(HookError::NotAHook));
        assert_eq!(
            parse(&[("JUJU_DISPATCH_PATH", "")]),
            Err(HookError::NotAHook)
        );
        let error = parse(&[
            (
                "JUJU_DISPATCH_PATH",
                "hooks/microcluster-cluster-relation-broken",
            ),
            ("JUJU_RELATION_ID", "five"),
        ]);
        assert!(error.is_err_and(|error| error.to_string().contains("JUJU_RELATION_ID")));
    }
}
