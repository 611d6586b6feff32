//! The ledger: all that this charm remembers (spec 2). It is the application databag of the peer
//! relation, in plain keys, so that a person can read it in `juju show-unit`.
//!
//! | key | value |
//! | --- | --- |
//! | `mirror-<key>` | the mirror: what a consumer wrote, `empty`, `member` or `retired` |
//! | `queue` | the names whose token is held back, in order of arrival, separated by a space, see [`crate::core::queue`] |
//! | `let-in` | the host whose token was shown last and that is not known to be in, when that was (seconds since 1970), and how often the ledger was written since only to run this charm again |
//! | `host-<hostname>` | the units that announced this name, first comer first, separated by a space; `+` after one that speaks the second protocol, then `*` after the one that is the member of that name, or `-` after one that is gone and may have used the token |
//! | `bootstrap-app` | the application that may bootstrap |
//! | `leader` | the unit that published last, and how often the leader has changed |
//! | `relation-<number>` | the remote application of a relation that this ledger was published to; ` -` after it where its bags may not show it |
//! | `other-models` | the applications that are of another model, separated by a space; `?` after one of which nobody can tell |
//! | `option-bootstrap-app`, `option-log-level` | the options when everything was last looked at |
//! | `communicators` | the units whose mirror is up, separated by a space; `*` after one that speaks the second protocol |
//! | `spent-<hostname>` | as published (second protocol) |
//! | `refused-<hostname>` | what living units that claim this name and are no members refuse, separated by a space: the unit, `:` and the fingerprint of a token (second protocol) |
//! | `nudge` | as published, see [`crate::core::nudge`] |
//! | `left-out` | the first key that had no room |
//!
//! Reading is tolerant: what is not of this form counts as absent.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::names::{RelationId, UnitName};
use crate::core::queue::Turn;
use crate::core::shared::Shared;
use crate::core::wire::{
    self, BOOTSTRAP_APP, Change, Changes, Databag, MIRROR_PREFIX, NUDGE, SPENT_PREFIX, Value,
};

const HOST_PREFIX: &str = "host-";
const LEADER: &str = "leader";
const RELATION_PREFIX: &str = "relation-";
const OPTION_BOOTSTRAP_APP: &str = "option-bootstrap-app";
const OPTION_LOG_LEVEL: &str = "option-log-level";
const OTHER_MODELS: &str = "other-models";
const COMMUNICATORS: &str = "communicators";
const LEFT_OUT: &str = "left-out";
const QUEUE: &str = "queue";
const LET_IN: &str = "let-in";

/// Before the host name: what its claimants refuse.
pub const REFUSED_PREFIX: &str = "refused-";

/// Each databag is kept below this many bytes of keys and values. Juju refuses one over 16 MiB, and
/// only at the end of the hook, where everything that the hook wrote would be lost.
pub const CAPACITY: usize = 15 << 20;

/// Each databag is kept below this many keys. Juju 4 refuses one of 10 922.
pub const MOST_KEYS: usize = 10_000;

/// All that this charm remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The mirror, by the name after the prefix.
    pub mirror: Shared<BTreeMap<String, Value>>,
    /// Who announced which host name.
    pub hosts: Shared<BTreeMap<String, Vec<Claim>>>,
    /// The names whose token is held back, in order of arrival.
    pub queue: Vec<String>,
    /// The host in turn.
    pub let_in: Option<Turn>,
    /// Fingerprints of tokens that no longer serve, by host name, oldest first.
    pub spent: BTreeMap<String, Vec<String>>,
    /// The units whose mirror is up.
    pub communicators: BTreeMap<UnitName, Protocol>,
    /// The application that may bootstrap; `None` while there is nobody to choose.
    pub bootstrap_app: Option<String>,
    /// Who published last.
    pub leader: Option<Leader>,
    /// The relations that this ledger was published to. Juju never uses a number twice.
    pub relations: BTreeMap<RelationId, Listed>,
    /// Where applications are that are not known to be of this model.
    pub places: BTreeMap<String, Place>,
    /// The options when everything was last looked at.
    pub options: Options,
    /// The value of the nudge.
    pub nudge: Option<String>,
    /// The first key that had no room.
    pub left_out: Option<String>,
}

/// A unit that announced a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The unit.
    pub unit: UnitName,
    /// Which protocol it speaks.
    pub speaks: Protocol,
    /// Whether it is the member of that name. It stays so until it departs.
    pub is_member: bool,
    /// Whether it has departed. Its claim stays where it may have used the token, see
    /// [`Ledger::keeps_claim`].
    pub is_gone: bool,
    /// The fingerprint of the token that it refuses, see [`crate::core::second_protocol`].
    pub refuses: Option<String>,
}

impl Claim {
    /// Of a unit that announces a name and has said nothing else.
    pub fn of(unit: UnitName) -> Self {
        Claim {
            unit,
            speaks: Protocol::First,
            is_member: false,
            is_gone: false,
            refuses: None,
        }
    }
}

impl Claim {
    /// Whether a claim of the same unit tells nothing beside this one.
    pub fn says_no_less_than(&self, other: &Claim) -> bool {
        !self.is_gone && self.speaks == other.speaks && (self.is_member || !other.is_member)
    }

    fn parse(word: &str) -> Option<Self> {
        let (word, is_member) = without(word, '*');
        let (word, is_gone) = without(word, '-');
        let (unit, is_second) = without(word, '+');
        Some(Claim {
            speaks: Protocol::of(is_second),
            is_member,
            is_gone,
            ..Claim::of(unit.parse().ok()?)
        })
    }

    fn print(&self) -> String {
        let second = match self.speaks {
            Protocol::First => "",
            Protocol::Second => "+",
        };
        let standing = match self {
            Claim {
                is_member: true, ..
            } => "*",
            Claim { is_gone: true, .. } => "-",
            _ => "",
        };
        format!("{}{second}{standing}", self.unit)
    }
}

/// Which protocol a unit speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The Python library's.
    First,
    /// What this charm adds to it.
    Second,
}

/// The unit that published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The unit.
    pub unit: UnitName,
    /// How often the leader has changed. Juju 4 announces no value that comes back.
    pub changes: u64,
}

/// A relation that the ledger was published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The remote application's name here.
    pub app: String,
    /// Whether its bags show the ledger. They may not where the relation broke or is passed over.
    pub is_current: bool,
}

/// Whether an application is of this model. One of another model has a name here that is not its
/// own, and the form of a name does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// goal-state lists it by this name.
    #[default]
    Here,
    /// goal-state answers, and does not list it by this name.
    Elsewhere,
    /// Nobody can tell: goal-state fails, or lists the name and no unit. It does so for an
    /// application without units, for a subordinate one, and (Juju 4) for one whose offer was
    /// consumed.
    Unknown,
}

/// The charm's options, trimmed. `None` is unset or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `bootstrap-app`.
    pub bootstrap_app: Option<String>,
    /// `log-level`: whatever stands there.
    pub log_level: Option<String>,
}

impl Options {
    /// Reads an option's text as an operator means it.
    pub fn text(text: &str) -> Option<String> {
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl From<Databag> for Ledger {
    fn from(bag: Databag) -> Self {
        bag.iter().collect()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Ledger {
    /// Reads the entries of a databag.
    fn from_iter<T: IntoIterator<Item = (K, V)>>(bag: T) -> Self {
        let mut ledger = Ledger::default();
        // These stand in order in the bag, and a map of what is in order is built at once.
        let (mut mirror, mut hosts, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in bag {
            let (key, value) = (key.as_ref(), value.as_ref());
            if let Some(name) = wire::mirrored(key) {
                mirror.push((name.to_owned(), value.into()));
            } else if let Some(name) = key.strip_prefix(HOST_PREFIX) {
                // Most names have one claim.
                let mut claims = Vec::with_capacity(1);
                claims.extend(value.split(' ').filter_map(Claim::parse));
                if !claims.is_empty() {
                    hosts.push((name.to_owned(), claims));
                }
            } else if let Some(name) = key.strip_prefix(SPENT_PREFIX) {
                let fingerprints = value.split(' ').map(str::to_owned).collect();
                ledger.spent.insert(name.to_owned(), fingerprints);
            } else if let Some(name) = key.strip_prefix(REFUSED_PREFIX) {
                refusals.push((name.to_owned(), value.to_owned()));
            } else if let Some(number) = key.strip_prefix(RELATION_PREFIX) {
                if let Ok(number) = number.parse() {
                    let (app, is_current) = match value.strip_suffix(" -") {
                        Some(app) => (app, false),
                        None => (value, true),
                    };
                    let app = app.to_owned();
                    let listed = Listed { app, is_current };
                    ledger.relations.insert(RelationId(number), listed);
                }
            } else {
                let text = || Some(value.to_owned());
                match key {
                    BOOTSTRAP_APP => ledger.bootstrap_app = text(),
                    LEADER => ledger.leader = leader(value),
                    OPTION_BOOTSTRAP_APP => ledger.options.bootstrap_app = text(),
                    OPTION_LOG_LEVEL => ledger.options.log_level = text(),
                    COMMUNICATORS => {
                        let speaks = |(unit, is_second)| (unit, Protocol::of(is_second));
                        ledger.communicators = units(value).map(speaks).collect();
                    }
                    OTHER_MODELS => ledger.places = value.split(' ').map(place).collect(),
                    NUDGE => ledger.nudge = text(),
                    LEFT_OUT => ledger.left_out = text(),
                    QUEUE => {
                        let names = value.split(' ').filter(|name| wire::is_hostname(name));
                        ledger.queue = names.map(str::to_owned).collect();
                    }
                    LET_IN => ledger.let_in = turn(value),
                    _ => {}
                }
            }
        }
        ledger.mirror = mirror.into_iter().collect();
        ledger.hosts = hosts.into_iter().collect();
        for (name, refusals) in refusals {
            let refusals = refusals.split(' ').filter_map(|word| word.split_once(':'));
            let claims = ledger.hosts.get_mut(&name).into_iter().flatten();
            let refusals: BTreeMap<&str, &str> = refusals.collect();
            for claim in claims.filter(|claim| !claim.is_member) {
                let refused = refusals.get(claim.unit.as_str());
                claim.refuses = refused.map(|&print| print.to_owned());
            }
        }
        ledger
    }
}

/// Units separated by a space, each with whether a `*` follows it.
fn units(text: &str) -> impl Iterator<Item = (UnitName, bool)> {
    text.split(' ').filter_map(|word| {
        let (unit, has_star) = without(word, '*');
        Some((unit.parse().ok()?, has_star))
    })
}

/// A word without the mark at its end, and whether it had one.
fn without(word: &str, mark: char) -> (&str, bool) {
    match word.strip_suffix(mark) {
        Some(word) => (word, true),
        None => (word, false),
    }
}

/// A host name, seconds, and ticks where there were any.
fn turn(text: &str) -> Option<Turn> {
    let mut words = text.split(' ');
    let turn = Turn {
        host: words.next()?.to_owned(),
        since: words.next()?.parse().ok()?,
        ticks: words.next().map_or(Ok(0), str::parse).ok()?,
    };
    (wire::is_hostname(&turn.host) && words.next().is_none()).then_some(turn)
}

/// An application and where it is.
fn place(word: &str) -> (String, Place) {
    match word.strip_suffix('?') {
        Some(app) => (app.to_owned(), Place::Unknown),
        None => (word.to_owned(), Place::Elsewhere),
    }
}

fn leader(text: &str) -> Option<Leader> {
    let (unit, changes) = text.split_once(' ')?;
    Some(Leader {
        unit: unit.parse().ok()?,
        changes: changes.parse().ok()?,
    })
}

impl Protocol {
    fn of(is_second: bool) -> Self {
        match is_second {
            true => Protocol::Second,
            false => Protocol::First,
        }
    }

    /// Which protocol the unit speaks that wrote `bag`.
    pub fn spoken_in(bag: &Databag) -> Self {
        Protocol::of(
            bag.get(wire::PROTOCOL)
                .is_some_and(|value| value == wire::SECOND),
        )
    }
}

impl Ledger {
    /// The databag that holds this ledger.
    pub fn to_databag(&self) -> Databag {
        let mut bag = Databag::new();
        for (name, value) in self.mirror.iter() {
            bag.insert(wire::mirror_key(name), value.as_str().to_owned());
        }
        for (name, claims) in self.hosts.iter() {
            let claims: Vec<String> = claims.iter().map(Claim::print).collect();
            bag.insert([HOST_PREFIX, name].concat(), claims.join(" "));
        }
        for (name, claims) in self.hosts.iter() {
            let refusals = claims.iter().filter_map(|claim| {
                let refused = claim.refuses.as_ref()?;
                Some(format!("{}:{refused}", claim.unit))
            });
            let refusals: Vec<String> = refusals.collect();
            if !refusals.is_empty() {
                bag.insert([REFUSED_PREFIX, name].concat(), refusals.join(" "));
            }
        }
        for (name, fingerprints) in &self.spent {
            bag.insert([SPENT_PREFIX, name].concat(), fingerprints.join(" "));
        }
        for (id, Listed { app, is_current }) in &self.relations {
            let mark = if *is_current { "" } else { " -" };
            bag.insert(format!("{RELATION_PREFIX}{id}"), format!("{app}{mark}"));
        }
        if !self.communicators.is_empty() {
            let units = self.communicators.iter();
            let units = units.map(|(unit, speaks)| (unit, *speaks == Protocol::Second));
            bag.insert(COMMUNICATORS.to_owned(), starred(units));
        }
        let places = self.places.iter().filter_map(|(app, place)| match place {
            Place::Here => None,
            Place::Elsewhere => Some(app.clone()),
            Place::Unknown => Some(format!("{app}?")),
        });
        let places: Vec<String> = places.collect();
        if !places.is_empty() {
            bag.insert(OTHER_MODELS.to_owned(), places.join(" "));
        }
        let leader = self.leader.as_ref();
        let leader = leader.map(|Leader { unit, changes }| format!("{unit} {changes}"));
        let queue = (!self.queue.is_empty()).then(|| self.queue.join(" "));
        let turn = self.let_in.as_ref().map(|turn| match turn {
            Turn {
                host,
                since,
                ticks: 0,
            } => format!("{host} {since}"),
            Turn { host, since, ticks } => format!("{host} {since} {ticks}"),
        });
        let single = [
            (QUEUE, &queue),
            (LET_IN, &turn),
            (BOOTSTRAP_APP, &self.bootstrap_app),
            (LEADER, &leader),
            (OPTION_BOOTSTRAP_APP, &self.options.bootstrap_app),
            (OPTION_LOG_LEVEL, &self.options.log_level),
            (NUDGE, &self.nudge),
            (LEFT_OUT, &self.left_out),
        ];
        for (key, value) in single {
            if let Some(value) = value {
                bag.insert(key.to_owned(), value.clone());
            }
        }
        bag
    }

    /// What makes this ledger of the one `before` it.
    pub fn changes_since(&self, before: &Ledger) -> Changes {
        wire::difference(&before.to_databag(), &self.to_databag(), |_| true)
    }

    /// The change that says that the bags of a relation may not show the ledger.
    pub fn mark(id: RelationId, app: &str) -> (String, Change) {
        let key = format!("{RELATION_PREFIX}{id}");
        (key, Change::Set(format!("{app} -")))
    }

    /// Whether the ledger names this unit as the one that published last.
    pub fn is_led_by(&self, unit: &UnitName) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.unit == *unit)
    }

    /// Whether the ledger names a unit, and it is not this one.
    pub fn is_led_by_another(&self, unit: &UnitName) -> bool {
        self.leader
            .as_ref()
            .is_some_and(|leader| leader.unit != *unit)
    }

    /// Whether the bags of this relation show the ledger.
    pub fn is_shown_in(&self, id: RelationId) -> bool {
        self.relations
            .get(&id)
            .is_some_and(|listed| listed.is_current)
    }

    /// Whether the mirror has any value at all.
    pub fn has_real_value(&self) -> bool {
        self.mirror.values().any(Value::is_real)
    }

    /// Whether the unit that is the member of this name is there.
    pub fn has_member(&self, name: &str) -> bool {
        let claims = self.hosts.get(name);
        claims.is_some_and(|claims| claims.iter().any(|claim| claim.is_member))
    }

    /// The units that claim this name and have not departed, first comer first.
    pub fn claimants(&self, name: &str) -> impl Iterator<Item = &Claim> {
        let claims = self.hosts.get(name).into_iter().flatten();
        claims.filter(|claim| !claim.is_gone)
    }

    /// Whether this claim stays when its unit departs: the first of a name that has no member and a
    /// token which was shown and not refused. The unit may have used that token.
    pub fn keeps_claim(&self, name: &str, unit: &UnitName) -> bool {
        let serves = |token: &Value| {
            token
                .text()
                .is_some_and(|token| !self.is_spent(name, token))
        };
        let first = self.hosts.get(name).and_then(|claims| claims.first());
        first.is_some_and(|first| first.unit == *unit)
            && !self.has_member(name)
            && !self.queue.iter().any(|queued| queued == name)
            && self.mirror.get(name).is_some_and(serves)
    }

    /// Puts the constant for a member in place of the token of this name, and says whether it had one.
    pub fn use_token(&mut self, name: &str) -> bool {
        let has_token = matches!(self.mirror.get(name), Some(Value::Text(_)));
        if has_token {
            self.mirror.insert(name.to_owned(), Value::Member);
        }
        has_token
    }

    /// Whether a host waits for a token: it has none, or one that no longer serves.
    pub fn waits(&self, name: &str) -> bool {
        match self.mirror.get(name) {
            Some(Value::Placeholder) => true,
            Some(Value::Text(token)) => !self.has_member(name) && self.is_spent(name, token),
            _ => false,
        }
    }

    /// The hosts that wait, in order of name.
    pub fn waiting(&self) -> BTreeSet<&str> {
        let names = self.mirror.keys().map(String::as_str);
        names.filter(|name| self.waits(name)).collect()
    }

    /// The related applications whose relation is current.
    pub fn apps(&self) -> BTreeSet<&str> {
        let current = self.relations.values().filter(|listed| listed.is_current);
        current.map(|listed| listed.app.as_str()).collect()
    }

    /// Where an application is, as far as it is known.
    pub fn place(&self, app: &str) -> Place {
        self.places.get(app).copied().unwrap_or_default()
    }

    /// Bytes and keys of the databag that holds this ledger.
    pub fn size(&self) -> Size {
        Size::of(&self.to_databag())
    }
}

fn starred<'a>(units: impl Iterator<Item = (&'a UnitName, bool)>) -> String {
    let words: Vec<String> = units
        .map(|(unit, star)| format!("{unit}{}", if star { "*" } else { "" }))
        .collect();
    words.join(" ")
}

/// How much of a databag is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of keys and values.
    pub bytes: usize,
    /// Keys.
    pub keys: usize,
}

impl Size {
    /// The size of a databag.
    pub fn of(bag: &Databag) -> Self {
        Size {
            bytes: bag.iter().map(|(key, value)| key.len() + value.len()).sum(),
            keys: bag.len(),
        }
    }

    /// Whether a bag of this size takes so much more. What takes no further key has room in a bag
    /// that is full of keys.
    pub fn has_room(self, bytes: usize, keys: usize) -> bool {
        let fits = |used: usize, more: usize, limit| more == 0 || used + more < limit;
        fits(self.bytes, bytes, CAPACITY) && fits(self.keys, keys, MOST_KEYS)
    }
}

/// The key of the mirror in a databag, printed for a person.
pub fn printed_key(name: &str) -> String {
    wire::printable(&[MIRROR_PREFIX, name].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag<const N: usize>(pairs: [(&str, &str); N]) -> Databag {
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_ledger_reads_back_what_it_wrote() {
        let written = bag([
            ("mirror-h0", "member"),
            ("mirror-h1", "eyJzZWNyZXQi"),
            ("mirror-h2", "empty"),
            ("mirror-", "bare"),
            ("host-h0", "m/0*"),
            ("host-h1", "m/1- n/1"),
            ("refused-h1", "n/1:89ab0123"),
            ("spent-h1", "0123abcd 4567cdef"),
            ("bootstrap-app", "m"),
            ("leader", "d/1 7"),
            ("relation-3", "m"),
            ("relation-12", "n -"),
            ("other-models", "n ovn-east?"),
            ("option-bootstrap-app", "m"),
            ("option-log-level", "debug"),
            ("communicators", "m/0* m/1"),
            ("nudge", "1 1 1 0"),
            ("left-out", "mirror-h9"),
        ]);
        let ledger = Ledger::from(written.clone());
        assert_eq!(ledger.to_databag(), written);
        assert!(ledger.is_led_by(&"d/1".parse().expect("a unit")));
        assert!(ledger.is_shown_in(RelationId(3)) && !ledger.is_shown_in(RelationId(12)));
        assert!(ledger.has_member("h0") && !ledger.has_member("h1"));
        assert_eq!(ledger.waiting(), BTreeSet::from(["h2"]));
        let claimants = ledger.claimants("h1").map(|claim| claim.unit.as_str());
        assert_eq!(claimants.collect::<Vec<_>>(), ["n/1"]);
    }

    #[test]
    fn what_is_not_of_its_form_counts_as_absent() {
        for (key, value) in [
            ("host-h0", "nobody"),
            ("leader", "d/1"),
            ("leader", "d/1 x"),
            ("relation-x", "m"),
            ("communicators", "x"),
            ("option-other", "x"),
            ("ingress-address", "10.0.0.1"),
            (wire::GUARD, "true"),
        ] {
            assert_eq!(
                Ledger::from(bag([(key, value)])),
                Ledger::default(),
                "{key}={value}"
            );
        }
    }

    #[test]
    fn an_option_is_trimmed_and_empty_is_unset() {
        for (text, option) in [("", None), ("  ", None), (" microovn ", Some("microovn"))] {
            assert_eq!(Options::text(text).as_deref(), option, "{text:?}");
        }
    }
}
