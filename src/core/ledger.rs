//! The ledger: all that this charm remembers (spec 2). It is the application databag of the peer
//! relation, in plain keys, so that a person can read it in `juju show-unit`.
//!
//! [`Key`] lists the keys; `docs/reference/ledger.md` says what stands under each.
//!
//! Reading is tolerant: what is not of this form counts as absent.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::names::{RelationId, UnitName};
use crate::core::queue::Turn;
use crate::core::shared::Shared;
use crate::core::wire::{self, BOOTSTRAP_APP, Changes, Databag, NUDGE, SPENT_PREFIX, Value};

const HOST_PREFIX: &str = "host-";
const RELATION_PREFIX: &str = "relation-";
/// Before a host name: what its claimants refuse, see [`Key::Refused`].
pub const REFUSED_PREFIX: &str = "refused-";

/// A key of the ledger. This is the one list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The mirror: what a consumer wrote, `empty`, `member` or `retired`.
    Mirror(&'a str),
    /// The units that announced this host name, first comer first, see [`Claim`].
    Host(&'a str),
    /// As published (second protocol).
    Spent(&'a str),
    /// What living units that claim this name and are no members refuse (second protocol): the
    /// unit, `:` and the fingerprint of a token.
    Refused(&'a str),
    /// The remote application of a relation that this ledger was published to, see [`Listed`].
    Relation(RelationId),
    /// The names whose token is held back, in order of arrival.
    Queue,
    /// The host in turn, see [`Turn`].
    LetIn,
    /// As published.
    BootstrapApp,
    /// The unit that published last, and how often the leader has changed.
    Leader,
    /// The applications that are of another model; `?` after one of which nobody can tell.
    OtherModels,
    /// An option when everything was last looked at.
    OptionBootstrapApp,
    /// The same.
    OptionLogLevel,
    /// The units whose mirror is up; `*` after one that speaks the second protocol.
    Communicators,
    /// As published, see [`crate::core::nudge`].
    Nudge,
    /// The first key that had no room.
    LeftOut,
}

impl<'a> Key<'a> {
    /// The keys that stand alone, with their text.
    const SINGLE: [(Key<'static>, &'static str); 10] = [
        (Key::Queue, "queue"),
        (Key::LetIn, "let-in"),
        (Key::BootstrapApp, BOOTSTRAP_APP),
        (Key::Leader, "leader"),
        (Key::OtherModels, "other-models"),
        (Key::OptionBootstrapApp, "option-bootstrap-app"),
        (Key::OptionLogLevel, "option-log-level"),
        (Key::Communicators, "communicators"),
        (Key::Nudge, NUDGE),
        (Key::LeftOut, "left-out"),
    ];

    /// The texts of all keys, `<>` in place of a name.
    pub fn forms() -> impl Iterator<Item = String> {
        let named = [
            Key::Mirror("<>"),
            Key::Host("<>"),
            Key::Spent("<>"),
            Key::Refused("<>"),
        ];
        let named = named.into_iter().map(Key::print);
        let relation = [RELATION_PREFIX.to_owned() + "<>"];
        let single = Key::SINGLE.iter().map(|(key, _)| key.print());
        named.chain(relation).chain(single)
    }

    /// Reads a key; `None` is one that is not the ledger's.
    pub fn parse(text: &'a str) -> Option<Self> {
        let named = |prefix, key: fn(&'a str) -> Key<'a>| text.strip_prefix(prefix).map(key);
        wire::mirrored(text)
            .map(Key::Mirror)
            .or_else(|| named(HOST_PREFIX, Key::Host))
            .or_else(|| named(SPENT_PREFIX, Key::Spent))
            .or_else(|| named(REFUSED_PREFIX, Key::Refused))
            .or_else(|| {
                let number = text.strip_prefix(RELATION_PREFIX)?.parse().ok()?;
                Some(Key::Relation(RelationId(number)))
            })
            .or_else(|| {
                let mut single = Key::SINGLE.iter();
                single
                    .find(|(_, known)| *known == text)
                    .map(|(key, _)| *key)
            })
    }

    /// The text in a databag.
    pub fn print(self) -> String {
        match self {
            Key::Mirror(name) => wire::mirror_key(name),
            Key::Host(name) => [HOST_PREFIX, name].concat(),
            Key::Spent(name) => [SPENT_PREFIX, name].concat(),
            Key::Refused(name) => [REFUSED_PREFIX, name].concat(),
            Key::Relation(id) => format!("{RELATION_PREFIX}{id}"),
            single => {
                let mut all = Key::SINGLE.iter();
                let text = all.find(|(key, _)| *key == single).map(|(_, text)| *text);
                text.unwrap_or_default().to_owned()
            }
        }
    }

    /// Why it changes, for a person.
    pub fn why(self) -> &'static str {
        match self {
            Key::Mirror(_) => "the token of this host",
            Key::Host(_) => "who announced this host name",
            Key::Spent(_) => "refused or retired tokens",
            Key::Refused(_) => "a token that a unit refuses and the mirror does not hold",
            Key::Relation(_) => "this relation shows the ledger",
            Key::Queue => "the hosts whose turn is to come",
            Key::LetIn => "the host in turn",
            Key::BootstrapApp => "the application that may bootstrap the cluster",
            Key::Leader => "the unit that published last",
            Key::OtherModels => "the applications of other models",
            Key::OptionBootstrapApp | Key::OptionLogLevel => "the option as the charm last read it",
            Key::Communicators => "the units that make tokens",
            Key::Nudge => "makes consumers act again",
            Key::LeftOut => "the first key that did not fit",
        }
    }
}

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
///
/// In the ledger: the unit, `+` if it speaks the second protocol, then `*` if it is the member of that
/// name, with `!` before it if an operator said so, or `-` if it is gone and may have used the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The unit.
    pub unit: UnitName,
    /// Which protocol it speaks.
    pub speaks: Protocol,
    /// Why it counts as the member of that name, if it does.
    pub member: Option<Because>,
    /// Whether it has departed. Its claim stays where it may have used the token, see
    /// [`Ledger::keeps_claim`].
    pub is_gone: bool,
    /// The fingerprint of the token that it refuses, see [`crate::core::spent`].
    pub refuses: Option<String>,
}

impl Claim {
    /// Of a unit that announces a name and has said nothing else.
    pub fn of(unit: UnitName) -> Self {
        Claim {
            unit,
            speaks: Protocol::First,
            member: None,
            is_gone: false,
            refuses: None,
        }
    }

    /// Whether this unit is the member of the name.
    pub fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// Whether an operator said that this unit is the member.
    pub fn is_resolved(&self) -> bool {
        self.member == Some(Because::OperatorSays)
    }

    /// This claim once its unit says `said` anew. A unit of the second protocol can take its word
    /// back; what an operator said stays. Only the unit's own hook shows a bag that is certainly not
    /// an old one, so only there a word is taken back.
    pub fn heard_again(&self, said: &Claim, in_its_own_hook: bool) -> Self {
        let takes_back = in_its_own_hook && said.speaks == Protocol::Second;
        let member = match self.member {
            Some(Because::OperatorSays) => self.member,
            Some(Because::UnitSays) if takes_back => said.member,
            known => known.or(said.member),
        };
        Claim {
            speaks: said.speaks,
            member,
            // A relation that was suspended brings its units back.
            is_gone: false,
            ..self.clone()
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let (word, is_gone) = without(word, '-');
        let (word, is_member) = without(word, '*');
        let (word, by_operator) = without(word, '!');
        let (unit, is_second) = without(word, '+');
        Some(Claim {
            speaks: Protocol::of(is_second),
            member: is_member.then_some(match by_operator {
                true => Because::OperatorSays,
                false => Because::UnitSays,
            }),
            is_gone,
            ..Claim::of(unit.parse().ok()?)
        })
    }

    fn print(&self) -> String {
        let marks = [
            (self.speaks == Protocol::Second, '+'),
            (self.is_resolved(), '!'),
            (self.is_member(), '*'),
            (self.is_gone && !self.is_member(), '-'),
        ];
        let marks = marks.iter().filter(|(is_set, _)| *is_set);
        let marks = marks.map(|(_, mark)| *mark);
        self.unit.as_str().chars().chain(marks).collect()
    }
}

/// Why a unit counts as the member of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It says so: by `member`, or by a `mirror` key, which only a unit has that has been
    /// communicator.
    UnitSays,
    /// An operator said so. Only an operator takes that back.
    OperatorSays,
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
    /// Whether its bags show the ledger. They may not where the relation broke or is passed over: ` -`.
    pub is_current: bool,
    /// Whether what its units and older bags hold is yet to be read: ` ?`. It is so where
    /// relation-created published to a relation that was there before.
    pub is_unread: bool,
}

impl Listed {
    /// A relation with this application.
    pub fn of(app: &str, is_current: bool) -> Self {
        Listed {
            app: app.to_owned(),
            is_current,
            is_unread: false,
        }
    }
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
            let text = || Some(value.to_owned());
            match Key::parse(key) {
                Some(Key::Mirror(name)) => mirror.push((name.to_owned(), value.into())),
                Some(Key::Host(name)) => {
                    // Most names have one claim.
                    let mut claims = Vec::with_capacity(1);
                    claims.extend(value.split(' ').filter_map(Claim::parse));
                    if !claims.is_empty() {
                        hosts.push((name.to_owned(), claims));
                    }
                }
                Some(Key::Spent(name)) => {
                    let fingerprints = value.split(' ').map(str::to_owned).collect();
                    ledger.spent.insert(name.to_owned(), fingerprints);
                }
                Some(Key::Refused(name)) => refusals.push((name.to_owned(), value.to_owned())),
                Some(Key::Relation(id)) => {
                    let (marked, unread) = (value.strip_suffix(" -"), value.strip_suffix(" ?"));
                    let listed = Listed {
                        is_unread: unread.is_some(),
                        ..Listed::of(marked.or(unread).unwrap_or(value), marked.is_none())
                    };
                    ledger.relations.insert(id, listed);
                }
                Some(Key::BootstrapApp) => ledger.bootstrap_app = text(),
                Some(Key::Leader) => ledger.leader = leader(value),
                Some(Key::OptionBootstrapApp) => ledger.options.bootstrap_app = text(),
                Some(Key::OptionLogLevel) => ledger.options.log_level = text(),
                Some(Key::Communicators) => {
                    let units = value.split(' ').filter_map(|word| {
                        let (unit, is_second) = without(word, '*');
                        Some((unit.parse().ok()?, Protocol::of(is_second)))
                    });
                    ledger.communicators = units.collect();
                }
                Some(Key::OtherModels) => {
                    ledger.places = value.split(' ').map(place).collect();
                }
                Some(Key::Nudge) => ledger.nudge = text(),
                Some(Key::LeftOut) => ledger.left_out = text(),
                Some(Key::Queue) => {
                    let names = value.split(' ').filter(|name| wire::is_hostname(name));
                    ledger.queue = names.map(str::to_owned).collect();
                }
                Some(Key::LetIn) => ledger.let_in = turn(value),
                None => {}
            }
        }
        ledger.mirror = mirror.into_iter().collect();
        ledger.hosts = hosts.into_iter().collect();
        for (name, refusals) in refusals {
            let refusals = refusals.split(' ').filter_map(|word| word.split_once(':'));
            let claims = ledger.hosts.get_mut(&name).into_iter().flatten();
            let refusals: BTreeMap<&str, &str> = refusals.collect();
            for claim in claims.filter(|claim| !claim.is_member()) {
                let refused = refusals.get(claim.unit.as_str());
                claim.refuses = refused.map(|&print| print.to_owned());
            }
        }
        ledger
    }
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
            bag.insert(
                Key::Host(name).print(),
                joined(claims.iter().map(Claim::print)),
            );
            let refusals = claims.iter().filter_map(|claim| {
                let refused = claim.refuses.as_ref()?;
                Some(format!("{}:{refused}", claim.unit))
            });
            let refusals = joined(refusals);
            if !refusals.is_empty() {
                bag.insert(Key::Refused(name).print(), refusals);
            }
        }
        for (name, fingerprints) in &self.spent {
            bag.insert(Key::Spent(name).print(), fingerprints.join(" "));
        }
        for (id, listed) in &self.relations {
            let mark = match (listed.is_current, listed.is_unread) {
                (false, _) => " -",
                (true, true) => " ?",
                (true, false) => "",
            };
            bag.insert(Key::Relation(*id).print(), format!("{}{mark}", listed.app));
        }
        let communicators = self
            .communicators
            .iter()
            .map(|(unit, speaks)| match speaks {
                Protocol::First => unit.to_string(),
                Protocol::Second => format!("{unit}*"),
            });
        let places = self.places.iter().filter_map(|(app, place)| match place {
            Place::Here => None,
            Place::Elsewhere => Some(app.clone()),
            Place::Unknown => Some(format!("{app}?")),
        });
        let leader = self.leader.as_ref();
        let leader = leader.map(|Leader { unit, changes }| format!("{unit} {changes}"));
        let turn = self.let_in.as_ref().map(|turn| match turn {
            Turn {
                host,
                since,
                ticks: 0,
            } => format!("{host} {since}"),
            Turn { host, since, ticks } => format!("{host} {since} {ticks}"),
        });
        let not_empty = |text: String| (!text.is_empty()).then_some(text);
        let single = [
            (Key::Queue, not_empty(self.queue.join(" "))),
            (Key::LetIn, turn),
            (Key::Communicators, not_empty(joined(communicators))),
            (Key::OtherModels, not_empty(joined(places))),
            (Key::BootstrapApp, self.bootstrap_app.clone()),
            (Key::Leader, leader),
            (Key::OptionBootstrapApp, self.options.bootstrap_app.clone()),
            (Key::OptionLogLevel, self.options.log_level.clone()),
            (Key::Nudge, self.nudge.clone()),
            (Key::LeftOut, self.left_out.clone()),
        ];
        let single = single.into_iter();
        bag.extend(single.filter_map(|(key, value)| Some((key.print(), value?))));
        bag
    }

    /// What makes this ledger of the one `before` it.
    pub fn changes_since(&self, before: &Ledger) -> Changes {
        wire::difference(&before.to_databag(), &self.to_databag(), |_| true)
    }

    /// A ledger without a cluster. The counters go on: Juju 4 announces no value that comes back.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Ledger {
            leader: self.leader.clone(),
            nudge: self.nudge.clone(),
            ..Ledger::default()
        }
    }

    /// Names the unit that publishes.
    pub fn name_leader(&mut self, unit: &UnitName) {
        if !self.is_led_by(unit) {
            let changes = self.leader.as_ref().map_or(0, |leader| leader.changes);
            self.leader = Some(Leader {
                unit: unit.clone(),
                changes: changes.saturating_add(1),
            });
        }
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

    /// Whether the bags of this relation show the ledger, and nothing of it is yet to be read.
    pub fn is_settled_in(&self, id: RelationId) -> bool {
        let listed = self.relations.get(&id);
        listed.is_some_and(|listed| listed.is_current && !listed.is_unread)
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
        claims.is_some_and(|claims| claims.iter().any(Claim::is_member))
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
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// The key of the mirror in a databag, printed for a person.
pub fn printed_key(name: &str) -> String {
    wire::printable(&wire::mirror_key(name))
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
