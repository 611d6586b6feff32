//! The charm, or its consumer, with a rule taken out: what its hook reads is altered, or what it
//! wrote before the commit.

use std::collections::BTreeMap;

use microcluster_token_distributor::core::fingerprint::fingerprint;
use microcluster_token_distributor::core::wire::{
    Change, Changes, Databag, GUARD, HOSTNAME, MAY_BOOTSTRAP, MEMBER, MEMBER_VALUE, MIRROR,
    PLACEHOLDER, REFUSED, SPENT_PREFIX, apply, is_up, mirror_key, mirrored,
};
use one_hook::{Ran, RelationView, View};

use crate::bag::Bag;
use crate::setup::Rule;
use crate::state::{Hook, tokens};

/// Alters what a hook wrote as if the charm did not know the rule.
pub(crate) fn without(rule: Rule, view: &View, hook: Hook, announcer: Option<&str>, ran: &mut Ran) {
    let own_bag = |relation: &RelationView| relation.units.get(&view.unit).cloned();
    match rule {
        Rule::StepDownComesLast if !view.is_leader => {
            for (id, relation) in &view.relations {
                let Some(bag) = own_bag(relation).filter(|bag| is_up(bag)) else {
                    continue;
                };
                let unit = &mut ran.writes.entry(*id).or_default().unit;
                unit.extend(bag.keys().map(|key| (key.clone(), Change::Remove)));
                unit.insert(MIRROR.to_owned(), Change::Set("down".to_owned()));
            }
        }
        Rule::StandbysFollowTheLedger if hook == Hook::LedgerChanged && !view.is_leader => {
            ran.writes.clear();
        }
        Rule::PlaceholdersOverwriteNothing if view.is_leader => {
            if let (Hook::Changed(..), Some(name)) = (hook, announcer) {
                show(
                    view,
                    ran,
                    &mirror_key(name),
                    Change::Set(PLACEHOLDER.to_owned()),
                );
            }
        }
        Rule::PermissionComesFirst => {
            for (id, writes) in &mut ran.writes {
                let shows_nothing = view.relations[id].own_app.is_empty();
                if shows_nothing && writes.unit.contains_key(MIRROR) {
                    writes.app.clear();
                }
            }
        }
        Rule::RefusedTokensAreReplaced => {
            each_mirror(ran, |changes| {
                changes.retain(|key, _| !key.starts_with(SPENT_PREFIX));
            });
        }
        Rule::SpentTokensStayShown => {
            let spent = ran.ledger.keys();
            let spent = spent.filter_map(|key| key.strip_prefix(SPENT_PREFIX));
            for key in spent.map(mirror_key).collect::<Vec<_>>() {
                show(view, ran, &key, Change::Set(PLACEHOLDER.to_owned()));
            }
        }
        Rule::SpentTokensAreNotLearned if view.is_leader => {
            for (name, token) in spent_offers(view, ran) {
                show(view, ran, &mirror_key(&name), Change::Set(token));
                show(view, ran, &[SPENT_PREFIX, &name].concat(), Change::Remove);
            }
        }
        Rule::MembersAreAnswered => each_mirror(ran, |changes| {
            for (_, change) in changes
                .iter_mut()
                .filter(|(key, _)| mirrored(key).is_some())
            {
                if *change == Change::Set(MEMBER_VALUE.to_owned()) {
                    *change = Change::Set(PLACEHOLDER.to_owned());
                }
            }
        }),
        Rule::OneMayBootstrap => {
            for writes in ran.writes.values_mut() {
                if let Some(word) = writes.app.get_mut(MAY_BOOTSTRAP) {
                    *word = Change::Set("true".to_owned());
                }
            }
        }
        _ => {}
    }
}

/// The host name that a unit announces.
pub(crate) fn announced(bag: &Databag) -> Option<&str> {
    bag.get(HOSTNAME).map(String::as_str)
}

fn each_mirror(ran: &mut Ran, alter: impl Fn(&mut Changes)) {
    alter(&mut ran.ledger);
    for writes in ran.writes.values_mut() {
        alter(&mut writes.unit);
    }
}

fn show(view: &View, ran: &mut Ran, key: &str, change: Change) {
    ran.ledger.insert(key.to_owned(), change.clone());
    for id in view.relations.keys() {
        let writes = ran.writes.entry(*id).or_default();
        writes.unit.insert(key.to_owned(), change.clone());
    }
}

/// The spent tokens that a communicator still offers, by the names of their hosts.
fn spent_offers(view: &View, ran: &Ran) -> Vec<(String, String)> {
    let mut ledger = view.ledger.as_deref().cloned().unwrap_or_default();
    apply(&mut ledger, &ran.ledger);
    let relations = view.relations.values();
    let units = relations.flat_map(|relation| &relation.units);
    let offering = units.filter(|(unit, bag)| unit.app() != view.unit.app() && is_up(bag));
    let offers = offering.flat_map(|(_, bag)| tokens(bag));
    let spent = offers.filter(|(name, token)| {
        let spent = ledger.get(&[SPENT_PREFIX, name].concat());
        spent.is_some_and(|spent| spent.contains(&fingerprint(token)))
    });
    let owned = |(name, token): (&str, &str)| (name.to_owned(), token.to_owned());
    spent.map(owned).collect()
}

/// Alters what a consumer reads, as if it did not know the rule.
pub(crate) fn consumer_reads(rule: Rule, distributors: &mut BTreeMap<u8, Bag>, app: &mut Databag) {
    let unread = match rule {
        Rule::BootstrapNeedsPermission => {
            app.insert(MAY_BOOTSTRAP.to_owned(), "true".to_owned());
            GUARD
        }
        Rule::SpentTokensAreMintedAnew => SPENT_PREFIX,
        _ => return,
    };
    for bag in distributors.values_mut() {
        let mut read = Databag::clone(bag);
        read.retain(|key, _| !key.starts_with(unread));
        *bag = read.into();
    }
}

/// Alters what a consumer wrote over the bag that it `held`.
pub(crate) fn consumer_writes(rule: Rule, held: &Databag, bag: &mut Databag) {
    let unsaid = match rule {
        Rule::MembersSaySo => MEMBER,
        Rule::RefusalsAreSaid => REFUSED,
        Rule::CommunicatorsAreUp => MIRROR,
        Rule::OutlivedTokensAreDeleted => {
            for (name, token) in tokens(held) {
                bag.entry(mirror_key(name))
                    .or_insert_with(|| token.to_owned());
            }
            return;
        }
        _ => return,
    };
    bag.remove(unsaid);
}
