//! The decision: a [`Snapshot`] in, a [`Plan`] out. Start reading here.
//!
//! It cannot fail, and it knows no process, no environment, no clock and no log: what is worth
//! saying is a note in the plan. The same facts give the same plan.

use std::cell::LazyCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::bootstrap::{bootstrap_app, must_not_bootstrap, tells_of_a_cluster};
use crate::databag::{
    self, BOOTSTRAP_APP, Change, Changes, DOWN, Databag, GUARD, GUARD_VALUE, HOSTS, MIRROR,
    MIRROR_PREFIX, PLACEHOLDER, UP, is_real, mirror_key, printable,
};
use crate::hosts::{self, Hosts};
use crate::mirror::{self, Mirror, Mirrored, Source};
use crate::snapshot::{Relation, RelationId, Scope, Snapshot, UnitName, is_cross_model};
use crate::status::{LOG_LEVELS, Overview, Problem};

/// Bags are kept below this many bytes of keys and values. Juju refuses one over 16 MiB, and only
/// at the end of the hook, where everything that the hook wrote would be lost.
pub const CAPACITY: usize = 15 << 20;

/// What is to be done. It holds only differences from what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes per relation; a relation without any is not in here.
    pub writes: BTreeMap<RelationId, Writes>,
    /// What the status should say, and what it said before these writes.
    pub overview: Overview,
    /// [`Plan::overview`] as the own application bags tell it before these writes.
    pub overview_before: Overview,
    /// What is worth logging, in order.
    pub notes: Vec<Note>,
    /// The facts are too few to decide: read the whole world and decide again.
    pub needs_whole: bool,
    /// Others may have announced themselves whom Juju has not yet shown: read them before writing,
    /// so that one write serves all.
    pub look_around: bool,
}

/// The changes of one relation's own bags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Our application's bag: the truth.
    pub app: Changes,
    /// Our unit's bag: the published copy.
    pub unit: Changes,
}

impl Writes {
    /// The keys that change in either bag.
    pub fn keys(&self) -> BTreeSet<&str> {
        let mut keys = BTreeSet::new();
        keys.extend(self.app.keys().chain(self.unit.keys()).map(String::as_str));
        keys
    }

    fn is_memory_only(&self) -> bool {
        self.unit.is_empty() && self.app.keys().all(|key| key == HOSTS)
    }
}

impl Plan {
    /// Whether no bag changes.
    pub fn is_silent(&self) -> bool {
        self.writes.is_empty()
    }

    /// Whether there is nothing to do at all: what is shown is right.
    pub fn is_idle(&self) -> bool {
        self.is_silent() && self.overview == self.overview_before
    }
}

/// A line for the log. It names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// One line.
    pub text: String,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A decision, for who wants to know why.
    Debug,
    /// A real change.
    Info,
    /// Something to mend; the text says how.
    Warning,
}

impl Note {
    /// A note on something to mend.
    pub fn warning(text: String) -> Self {
        Note {
            level: Level::Warning,
            text,
        }
    }

    /// A note on a change.
    pub fn info(text: String) -> Self {
        Note {
            level: Level::Info,
            text,
        }
    }
}

/// Decides what the leader's databags should hold, and says how they differ from that.
pub fn reconcile(facts: &Snapshot) -> Plan {
    let mut plan = Plan::default();

    let mut hosts = Hosts::remembered(facts);
    let nobody_known = hosts.iter().next().is_none();
    let remembered_problems: Vec<Problem> = host_problems(&hosts).collect();
    let announced = hosts::announced(facts);
    let bags = mirror::bags(facts);
    // Asked only when a host leaves or takes another name.
    let known = LazyCell::new(|| Mirror::of(&bags, &[], &BTreeSet::new(), &mut Vec::new()));
    let has_value = |name: &str| known.get(name).is_some_and(|known| is_real(known.value));
    let dropped = hosts.update(facts, &announced, has_value);
    let mirror = Mirror::of(&bags, &announced, &dropped, &mut plan.notes);

    let communicator = bags.iter().find_map(|(source, _)| match source {
        Source::Copied(unit) => Some(*unit),
        _ => None,
    });
    let bootstrap = bootstrap_app(facts, &mirror, communicator);
    let desired = Desired {
        mirror: &mirror,
        dropped: &dropped,
        hosts: hosts.to_text(),
        bootstrap,
        apps: facts.apps().collect(),
        scope: facts.scope,
    };
    let mut left_out = BTreeSet::new();
    for (id, relation) in &facts.relations {
        let writes = desired.writes(relation, &mut left_out);
        if writes != Writes::default() {
            plan.writes.insert(*id, writes);
        }
    }
    let standing = standing_problems(facts, &mirror, bootstrap);
    let problems = [standing.clone(), host_problems(&hosts).collect()].concat();
    plan.overview = overview(facts, &mirror, &left_out, problems);
    // Where nothing is missing, the application bags tell the same.
    plan.overview_before = if plan.writes.is_empty() && left_out.is_empty() {
        plan.overview.clone()
    } else {
        let published = Mirror::published(facts);
        overview(
            facts,
            &published,
            &BTreeSet::new(),
            [standing, remembered_problems].concat(),
        )
    };
    // Memory alone is not worth waking every consumer: it is written together with news, or once
    // where it holds a problem that every hook would otherwise find again.
    let told = plan.overview == plan.overview_before;
    if told && plan.writes.values().all(Writes::is_memory_only) {
        plan.writes.clear();
    }

    plan.look_around = facts.scope == Scope::Part && may_have_company(&mirror);
    plan.needs_whole = match facts.scope {
        Scope::Whole => false,
        Scope::Relations => chooses_anew(facts, bootstrap) || has_a_past(facts),
        Scope::Part => sees_too_little(facts, &mirror, nobody_known, &plan),
    };
    plan.notes.extend(news(&plan.writes, &mirror));
    plan.notes.extend(
        plan.overview
            .problems
            .iter()
            .map(|problem| Note::warning(problem.to_string())),
    );
    plan
}

/// Hosts seldom come alone. One that announces itself may be the first of many, and while nobody
/// has, whoever is about to will be heard earlier by asking than by waiting for Juju.
fn may_have_company(mirror: &Mirror<'_>) -> bool {
    let mut sources = mirror
        .iter()
        .map(|(_, mirrored)| mirrored.source)
        .peekable();
    sources.peek().is_none() || sources.any(|source| matches!(source, Source::Announced(_)))
}

/// The application that was chosen seems to have left. Whether a cluster exists that speaks for it
/// all the same, only units can tell.
fn chooses_anew(facts: &Snapshot, bootstrap: Option<&str>) -> bool {
    let relations = facts.relations.values();
    let mut held = relations.filter_map(|relation| relation.own_app.get(BOOTSTRAP_APP));
    let held = held.next().map(String::as_str);
    facts.config.bootstrap_app.is_none() && held.is_some() && held != bootstrap
}

/// A mirror that our unit has not shown yet is of a relation that was suspended, or that is older
/// than this unit: hosts may have come and gone unseen.
fn has_a_past(facts: &Snapshot) -> bool {
    facts.relations.values().any(|relation| {
        let unit = relation.own_unit.as_ref();
        databag::mirror_of(&relation.own_app).next().is_some()
            && unit.is_some_and(|unit| !unit.contains_key(MIRROR))
    })
}

/// A part of the world is not enough to choose the bootstrap application, nor to take away the
/// placeholder of a host that departed or took another name: a namesake may still be waiting for
/// it, or a communicator speak of it.
fn sees_too_little(facts: &Snapshot, mirror: &Mirror<'_>, nobody_known: bool, plan: &Plan) -> bool {
    let mut relations = facts.relations.values();
    let held = relations.find_map(|relation| relation.own_app.get(BOOTSTRAP_APP));
    let Some(held) = held else {
        return !facts.relations.is_empty();
    };
    // Nobody could be chosen when this relation came. Whose it is decides whether it must be
    // guarded before it hears of the choice.
    let is_untold = |(id, writes): (&RelationId, &Writes)| {
        writes.app.contains_key(BOOTSTRAP_APP) && facts.relations[id].remote_app.is_none()
    };
    let takes_away = |writes: &Writes| writes.app.values().any(|change| *change == Change::Remove);
    if plan.writes.iter().any(is_untold) || plan.writes.values().any(takes_away) {
        return true;
    }
    // When the last host left, the application of the first one to come had not been chosen.
    let nobody_known = nobody_known && !mirror.has_any_real();
    let first_to_come = facts
        .relations
        .values()
        .flat_map(|relation| relation.units.keys())
        .any(|unit| unit.app() != held);
    nobody_known && first_to_come
        || facts.departed.as_ref().is_some_and(|departed| {
            // The choice may rest on this unit: one of the chosen application, or the last to tell
            // of a cluster that speaks for it.
            let is_chosen = held == departed.unit.app();
            let unsettles =
                (is_chosen || tells_of_a_cluster(&departed.bag)) && !mirror.has_any_real();
            let unanswered = || {
                mirror
                    .iter()
                    .any(|(_, mirrored)| mirrored.value == PLACEHOLDER)
            };
            let communicator_lost = databag::is_up(&departed.bag) && unanswered();
            !plan.is_silent() || unsettles || communicator_lost
        })
}

/// What every relation should show.
struct Desired<'a> {
    mirror: &'a Mirror<'a>,
    dropped: &'a BTreeSet<String>,
    hosts: Option<String>,
    bootstrap: Option<&'a str>,
    apps: BTreeSet<&'a str>,
    scope: Scope,
}

impl<'a> Desired<'a> {
    fn writes(&self, relation: &'a Relation, left_out: &mut BTreeSet<&'a str>) -> Writes {
        let mut app = Draft::new(Some(&relation.own_app));
        let mut unit = Draft::new(relation.own_unit.as_ref());

        if let Some(bootstrap) = self.bootstrap {
            app.set(BOOTSTRAP_APP, bootstrap);
            unit.set(BOOTSTRAP_APP, bootstrap);
            unit.set(MIRROR, UP);
        } else if unit.holds(MIRROR, UP) && !relation.own_app.contains_key(BOOTSTRAP_APP) {
            // The newest consumer, seeing a mirror up and no permission, gives up for good.
            unit.set(MIRROR, DOWN);
        }
        self.guard(relation, &mut unit);
        match &self.hosts {
            Some(hosts) => app.set(HOSTS, hosts),
            None => app.remove(HOSTS),
        }
        for name in self.dropped {
            let key = mirror_key(name);
            for bag in [&mut app, &mut unit] {
                if self.mirror.get(name).is_none() && bag.holds(&key, PLACEHOLDER) {
                    bag.remove(&key);
                }
            }
        }
        self.mirror_into(&mut app, &mut unit, left_out);
        Writes {
            app: app.changes.into_iter().collect(),
            unit: unit.changes.into_iter().collect(),
        }
    }

    /// Keeps an application that must not bootstrap from doing so until the mirror itself does:
    /// released consumers bootstrap unless they see any value.
    fn guard(&self, relation: &Relation, unit: &mut Draft<'_>) {
        let must_wait = match (self.bootstrap, &relation.remote_app) {
            _ if self.mirror.has_any_real() => false,
            // Who else is related decides, and a part of the world does not show that.
            (Some(bootstrap), Some(app))
                if self.scope == Scope::Part && app != bootstrap && is_cross_model(app) =>
            {
                return;
            }
            (Some(bootstrap), Some(app)) => must_not_bootstrap(app, bootstrap, &self.apps),
            _ => return,
        };
        if must_wait {
            unit.set(GUARD, GUARD_VALUE);
        } else {
            unit.remove(GUARD);
        }
    }

    /// Plans every mirror key that is missing or still a placeholder, as far as the bags can take
    /// them. Both bags get a key or neither does, so that nobody sees one without the other.
    fn mirror_into(
        &self,
        app: &mut Draft<'a>,
        unit: &mut Draft<'a>,
        left_out: &mut BTreeSet<&'a str>,
    ) {
        let mut missing: Vec<Missing<'_>> = Vec::new();
        let mut growth = (0, 0);
        let (mut in_app, mut in_unit) = (app.mirror_values(), unit.mirror_values());
        for (name, mirrored) in self.mirror.iter() {
            let held = [in_app.get(name), in_unit.get(name)];
            // What this relation's bags hold is theirs; another relation's value never replaces it.
            let mut real = held.into_iter().flatten().filter(|value| is_real(value));
            let value = real.next().unwrap_or(mirrored.value);
            let entry = Missing {
                rank: mirrored.rank,
                name,
                value,
                app: app.lacks(held[0], value).then_some(held[0]),
                unit: unit.lacks(held[1], value).then_some(held[1]),
            };
            if entry.app.is_some() || entry.unit.is_some() {
                growth.0 += entry.growth(entry.app);
                growth.1 += entry.growth(entry.unit);
                missing.push(entry);
            }
        }
        let roomy = app.size + growth.0 < CAPACITY && unit.size + growth.1 < CAPACITY;
        if !roomy {
            // Last in precedence stays outside. A value too big for anybody keeps nobody else out.
            missing.sort_unstable_by_key(|missing| {
                (!is_real(missing.value), missing.rank, missing.name)
            });
        }
        for entry in missing {
            let fits = app.size + entry.growth(entry.app) < CAPACITY
                && unit.size + entry.growth(entry.unit) < CAPACITY;
            if fits {
                app.mirror(&entry, entry.app);
                unit.mirror(&entry, entry.unit);
            } else {
                left_out.insert(entry.name);
            }
        }
    }
}

/// A mirror key whose value at least one of a relation's bags does not hold.
struct Missing<'a> {
    rank: usize,
    name: &'a str,
    value: &'a str,
    /// What the application bag holds instead, if that is to change.
    app: Option<Held<'a>>,
    /// The same of the unit bag.
    unit: Option<Held<'a>>,
}

/// What a bag holds under a key, if anything.
type Held<'a> = Option<&'a str>;

impl Missing<'_> {
    /// Bytes that a bag gains.
    fn growth(&self, replaces: Option<Held<'_>>) -> usize {
        match replaces {
            None => 0,
            Some(None) => MIRROR_PREFIX.len() + self.name.len() + self.value.len(),
            Some(Some(held)) => self.value.len().saturating_sub(held.len()),
        }
    }
}

/// A databag with the changes that are planned for it. One that was not read takes none.
struct Draft<'a> {
    held: Option<&'a Databag>,
    changes: Vec<(String, Change)>,
    size: usize,
}

impl<'a> Draft<'a> {
    fn new(held: Option<&'a Databag>) -> Self {
        Draft {
            held,
            changes: Vec::new(),
            size: held.map_or(0, databag::size),
        }
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.held?.get(key).map(String::as_str)
    }

    fn mirror_values(&self) -> InOrder<impl Iterator<Item = (&'a str, &'a str)> + use<'a>> {
        InOrder::of(self.held.into_iter().flat_map(databag::mirror_by_name))
    }

    fn holds(&self, key: &str, value: &str) -> bool {
        self.value(key) == Some(value)
    }

    /// Whether writing `value` in place of what is `held` would make a difference, and may.
    fn lacks(&self, held: Held<'_>, value: &str) -> bool {
        self.held.is_some() && !held.is_some_and(is_real) && held != Some(value)
    }

    fn mirror(&mut self, missing: &Missing<'_>, replaces: Option<Held<'_>>) {
        if let Some(held) = replaces {
            self.change(mirror_key(missing.name), held, missing.value);
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let held = self.value(key);
        if self.held.is_some() && held != Some(value) {
            self.change(key.to_owned(), held, value);
        }
    }

    fn change(&mut self, key: String, held: Held<'_>, value: &str) {
        let before = held.map_or(0, |held| key.len() + held.len());
        self.size = self.size + key.len() + value.len() - before;
        let change = Change::Set(value.to_owned());
        self.changes.push((key, change));
    }

    fn remove(&mut self, key: &str) {
        if let Some(held) = self.value(key) {
            self.size -= key.len() + held.len();
            self.changes.push((key.to_owned(), Change::Remove));
        }
    }
}

/// What stands in the order of names, for who asks for names in their order: a hundred thousand
/// look-ups cost more than all the rest.
struct InOrder<I: Iterator>(std::iter::Peekable<I>);

impl<'a, T, I: Iterator<Item = (&'a str, T)>> InOrder<I> {
    fn of(entries: I) -> Self {
        InOrder(entries.peekable())
    }

    fn get(&mut self, name: &str) -> Option<T> {
        loop {
            let (next, _) = self.0.peek()?;
            match (*next).cmp(name) {
                Ordering::Less => self.0.next(),
                Ordering::Equal => return self.0.next().map(|(_, value)| value),
                Ordering::Greater => return None,
            };
        }
    }
}

/// The notes for the real changes among `writes`, one per key whatever the number of relations.
/// What is merely shown again, in a new relation or by a new leader, is one note per relation.
fn news(writes: &BTreeMap<RelationId, Writes>, mirror: &Mirror<'_>) -> Vec<Note> {
    let changes = || {
        let writes = writes.values();
        writes.flat_map(|writes| writes.app.iter().chain(&writes.unit))
    };
    let mut notes = Vec::new();
    let chosen = changes().find_map(|(key, change)| match change {
        Change::Set(value) if key == BOOTSTRAP_APP => Some(value),
        _ => None,
    });
    if let Some(app) = chosen {
        notes.push(Note::info(format!("{BOOTSTRAP_APP}: {}", printable(app))));
    }
    let removed = changes().filter(|(_, change)| **change == Change::Remove);
    let removed = removed.filter(|(key, _)| databag::mirrored(key).is_some());
    let removed: BTreeSet<&str> = removed.map(|(key, _)| key.as_str()).collect();
    for key in removed {
        let key = printable(key);
        notes.push(Note::info(format!(
            "{key}: placeholder removed, its host is gone"
        )));
    }

    let by_name = |changes| InOrder::of(Changes::iter(changes).filter_map(named));
    let mut relations: Vec<_> = writes
        .values()
        .map(|writes| (by_name(&writes.app), by_name(&writes.unit), 0))
        .collect();
    for (name, mirrored) in mirror.iter() {
        let origin = origin(mirrored);
        let mut is_news = false;
        for (app, unit, known) in &mut relations {
            if app.get(name).is_some() || unit.get(name).is_some() {
                is_news |= origin.is_some();
                *known += usize::from(origin.is_none());
            }
        }
        if let Some((what, unit)) = origin.filter(|_| is_news) {
            let key = printable(&mirror_key(name));
            notes.push(Note::info(format!("{key}: {what} {unit}")));
        }
    }
    for ((id, writes), (_, _, known)) in writes.iter().zip(relations) {
        if let Some(Change::Set(value)) = writes.unit.get(MIRROR) {
            notes.push(Note::info(format!("relation {id}: mirror {value}")));
        }
        if known > 0 {
            let keys = if known == 1 { "key" } else { "keys" };
            notes.push(Note::info(format!(
                "relation {id}: {known} known {keys} published"
            )));
        }
    }
    notes
}

fn named<'a>((key, change): (&'a String, &'a Change)) -> Option<(&'a str, &'a Change)> {
    Some((databag::mirrored(key)?, change))
}

/// Who brought a value, unless we have had it all along.
fn origin<'a>(mirrored: &Mirrored<'a>) -> Option<(&'static str, &'a UnitName)> {
    match mirrored.source {
        Source::Own(_) => None,
        Source::Copied(unit) if is_real(mirrored.value) => Some(("value from", unit)),
        Source::Copied(unit) | Source::Announced(unit) => Some(("placeholder for", unit)),
    }
}

/// Problems that no write of this plan makes or mends.
fn standing_problems(
    facts: &Snapshot,
    mirror: &Mirror<'_>,
    bootstrap: Option<&str>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if facts.scope != Scope::Part && !facts.relations.is_empty() {
        match &facts.config.bootstrap_app {
            // One related across models may be meant: here it has another name.
            Some(app)
                if !facts
                    .apps()
                    .any(|related| related == app || is_cross_model(related)) =>
            {
                problems.push(Problem::NotRelated { app: app.clone() });
            }
            // Once a cluster exists, nobody asks for permission any more.
            None if bootstrap.is_some_and(is_cross_model) && !mirror.has_any_real() => {
                problems.push(Problem::CrossModel);
            }
            _ => {}
        }
    }
    if let Some(value) = &facts.config.log_level
        && !LOG_LEVELS.contains(&value.to_lowercase().as_str())
    {
        problems.push(Problem::LogLevel {
            value: value.clone(),
        });
    }
    problems
}

fn host_problems(hosts: &Hosts) -> impl Iterator<Item = Problem> {
    hosts.iter().filter_map(|(name, units)| {
        if !databag::is_hostname(name) {
            Some(Problem::refused(name, units))
        } else if units.len() > 1 {
            Some(Problem::contested(name, units))
        } else {
            None
        }
    })
}

fn overview(
    facts: &Snapshot,
    mirror: &Mirror<'_>,
    left_out: &BTreeSet<&str>,
    problems: Vec<Problem>,
) -> Overview {
    let mut overview = Overview {
        related: !facts.relations.is_empty(),
        problems,
        ..Overview::default()
    };
    for (name, mirrored) in mirror.iter() {
        // A refused name that is announced does not come this far.
        let is_announced = matches!(mirrored.source, Source::Announced(_));
        if is_announced || databag::is_hostname(name) {
            overview.hosts += 1;
            let waits = !is_real(mirrored.value) || left_out.contains(name);
            overview.waiting += usize::from(waits);
        }
    }
    if !left_out.is_empty() {
        overview.problems.push(Problem::Full {
            left_out: left_out.len(),
        });
    }
    overview
}
