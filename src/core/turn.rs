//! The one decision of every hook and action: nothing to do, look further, wait, or write.
//!
//! An event is answered from the ledger and one bag, unless one of [`REASONS`] speaks. A fact that
//! nobody has looked at yet is an error of its own kind: the scope in which it is to be found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::everything;
use crate::core::evidence::{Evidence, Scope, World};
use crate::core::goal::GoalState;
use crate::core::learn::{self, Learned};
use crate::core::ledger::{Ledger, Options};
use crate::core::names::{RelationId, UnitName};
use crate::core::note::Note;
use crate::core::nudge::nudge;
use crate::core::operator::{Order, Refused};
use crate::core::plan::{self, Plan};
use crate::core::queue::{self, Moment};
use crate::core::reasons::{REASONS, without_claim};
use crate::core::wire::{self, Databag};

/// How long `cluster-relation-changed` waits at a time while hosts wait for their turn, and how
/// often. No longer, because hooks of one machine exclude each other, and the host in turn may be a
/// unit of the same machine.
pub const PAUSE: Duration = Duration::from_secs(1);
const PAUSES: u32 = 2;

/// Why the charm runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// relation-joined or relation-changed of a unit.
    Heard(RelationId, UnitName),
    /// relation-departed of a unit.
    Departed(RelationId, UnitName),
    /// relation-created.
    Created(RelationId),
    /// relation-broken.
    Broken(RelationId),
    /// `cluster-relation-changed`: the ledger in this peer relation was written. The leader's own
    /// write is the only clock that Juju gives a charm.
    LedgerWritten(RelationId),
    /// update-status.
    UpdateStatus,
    /// config-changed, start: anything may have changed.
    Anything,
    /// leader-elected, upgrade-charm: another unit may have published, or the Python charm.
    TakeOver,
    /// An operator's action.
    Order(Order),
}

impl Occasion {
    /// What this occasion says is leaving. Juju may show it for some time yet.
    pub fn leaving(&self) -> (Option<RelationId>, Option<&UnitName>) {
        match self {
            Occasion::Broken(relation) => (Some(*relation), None),
            Occasion::Departed(_, unit) => (None, Some(unit)),
            _ => (None, None),
        }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing: the hook is over.
    Nothing,
    /// Look at this, and ask again.
    Look(Scope),
    /// Wait, look at goal-state anew, and ask again.
    Wait(Duration),
    /// Write this, and the hook is over.
    Write(Box<Plan>),
    /// Say why an operator's order is not carried out.
    Refuse(Refused),
}

/// All that is known when a turn is decided.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The ledger as it is.
    pub ledger: &'a Ledger,
    /// This unit.
    pub unit: &'a UnitName,
    /// Why the charm runs.
    pub occasion: &'a Occasion,
    /// What was looked at so far.
    pub evidence: &'a Evidence,
}

/// Decides what is to be done next.
pub fn turn(facts: &Facts<'_>) -> Turn {
    facts.decide().unwrap_or_else(Turn::Look)
}

impl<'a> Facts<'a> {
    fn decide(&self) -> Result<Turn, Scope> {
        match self.occasion {
            Occasion::LedgerWritten(_) if !self.ledger.is_led_by(self.unit) => {
                return self.stand_by_another();
            }
            Occasion::Created(_)
            | Occasion::UpdateStatus
            | Occasion::Anything
            | Occasion::TakeOver
                if !self.leads()? =>
            {
                return Ok(Turn::Write(Box::new(self.standby_plan(None)?)));
            }
            Occasion::Broken(_) if !self.leads()? || !self.is_to_stay()? => {
                return Ok(Turn::Nothing);
            }
            Occasion::Order(order) if !self.leads()? => {
                let app = self.unit.app().to_owned();
                return Ok(Turn::Refuse(Refused::NotLeader(order.name(), app)));
            }
            Occasion::LedgerWritten(_) if queue::needs_the_clock(self.ledger) => {
                return self.clock();
            }
            _ => {}
        }
        if let Some(world) = self
            .evidence
            .world
            .as_ref()
            .filter(|world| world.units_were_read)
        {
            return self.write_everything(world);
        }
        for reason in REASONS.iter().filter(|reason| (reason.on)(self.occasion)) {
            if (reason.speaks)(self)? {
                return self.look_at_everything(reason.name);
            }
        }
        if let Occasion::Created(_) = self.occasion {
            return self.write_everything(self.new_relation()?);
        }
        let mut learned = self.learned_from_unit()?;
        if let Some(newcomers) = self.newcomers(&learned)? {
            return Err(newcomers);
        }
        let is_update_status = *self.occasion == Occasion::UpdateStatus;
        if is_update_status {
            learn::clear_used_tokens(&mut learned.ledger, &mut learned.notes);
        }
        let mut plan = self.plan_of(learned)?;
        plan.compares_the_status = is_update_status;
        match is_update_status || !plan.is_idle() && self.leads()? {
            true => Ok(Turn::Write(Box::new(plan))),
            false => Ok(Turn::Nothing),
        }
    }

    fn look_at_everything(&self, reason: &'static str) -> Result<Turn, Scope> {
        if self.is_known_already() || !self.leads()? {
            return Ok(Turn::Nothing);
        }
        // Nobody lists a unit that has departed, so a look at everything does not find its bag.
        if let Occasion::Departed(..) = self.occasion {
            self.event_bag()?;
        }
        Err(Scope::Everything(reason))
    }

    /// What a leader that published knows already is no news, whoever leads now: so a standby need not
    /// ask who leads.
    fn is_known_already(&self) -> bool {
        let Occasion::Heard(relation, _) = self.occasion else {
            return false;
        };
        let bag = self.event_bag().ok().flatten();
        !self.ledger.is_led_by(self.unit)
            && self.ledger.is_shown_in(*relation)
            && bag.is_some()
            && self.is_news() == Ok(false)
    }

    fn write_everything(&self, world: &World) -> Result<Turn, Scope> {
        let left = match self.occasion {
            Occasion::Departed(..) => self.learned_from_unit()?,
            _ => Learned::nothing(self.ledger),
        };
        let mut learned = everything::learned(&left.ledger, world, self.unit);
        learned.notes = [left.notes, learned.notes].concat();
        let mut outcome = None;
        match self.occasion {
            Occasion::UpdateStatus => {
                learn::clear_used_tokens(&mut learned.ledger, &mut learned.notes);
                self.nudge(&mut learned, false);
            }
            Occasion::Order(order) => match order.carry_out(learned, world, self.unit) {
                Ok((done, what)) => (learned, outcome) = (done, Some(what)),
                Err(refused) => return Ok(Turn::Refuse(refused)),
            },
            _ => {}
        }
        let mut plan = self.plan_of(learned)?;
        plan.outcome = outcome;
        Ok(Turn::Write(Box::new(plan)))
    }

    /// What the unit of this event says, if it is one.
    pub(super) fn learned_from_unit(&self) -> Result<Learned, Scope> {
        match self.occasion {
            Occasion::Heard(_, unit) => Ok(match self.event_bag()? {
                Some(bag) => {
                    let newcomers = self.evidence.newcomers.iter().flatten();
                    let others = newcomers.map(|(unit, bag)| (unit, bag));
                    learn::unit_and_others(self.ledger, unit, bag, others)
                }
                None => Learned::nothing(self.ledger),
            }),
            Occasion::Departed(_, unit) => {
                let nothing = Databag::new();
                let bag = self.event_bag()?.unwrap_or(&nothing);
                let mut learned = learn::departure(self.ledger, unit, bag);
                if self.ledger.communicators.contains_key(unit) || wire::is_up(bag) {
                    self.nudge(&mut learned, true);
                }
                Ok(learned)
            }
            _ => Ok(Learned::nothing(self.ledger)),
        }
    }

    pub(super) fn is_news(&self) -> Result<bool, Scope> {
        Ok(self.learned_from_unit()?.ledger != *self.ledger)
    }

    /// Hosts seldom come alone, and one write for all of them is one hook of every consumer. So the
    /// first to come are asked for before their hooks: once Juju has shown us the bag of a unit that
    /// has joined, it shows the same one until that unit's next hook.
    fn newcomers(&self, learned: &Learned) -> Result<Option<Scope>, Scope> {
        let Occasion::Heard(relation, unit) = self.occasion else {
            return Ok(None);
        };
        let is_first = learned.has_new_claim || self.ledger.hosts.is_empty();
        let is_asked = is_first && self.evidence.newcomers.is_none();
        if !is_asked || self.event_bag()?.is_none() || !self.leads()? {
            return Ok(None);
        }
        let expected = self.goal()?.and_then(|goal| goal.expected(unit.app()));
        let unheard = without_claim(&learned.ledger, expected.unwrap_or_default());
        let others = unheard.filter(|other| other != unit).collect();
        Ok(Some(Scope::Newcomers(*relation, others)))
    }

    /// While the host in turn will not say by an event of its own that it is in, this hook waits a
    /// little, and its write brings the next run.
    fn clock(&self) -> Result<Turn, Scope> {
        self.goal()?;
        let mut plan = self.plan_of(Learned::nothing(self.ledger))?;
        if plan.is_idle() && self.evidence.pauses < PAUSES {
            return Ok(Turn::Wait(PAUSE));
        }
        if plan.is_idle() {
            queue::tick(&mut plan.ledger);
        }
        match self.leads()? {
            true => Ok(Turn::Write(Box::new(plan))),
            false => Ok(Turn::Nothing),
        }
    }

    /// Another unit wrote the ledger: the ledger alone says whose turn it is.
    fn stand_by_another(&self) -> Result<Turn, Scope> {
        if self.ledger.leader.is_none() {
            return Ok(Turn::Nothing);
        }
        if self.evidence.world.is_none() {
            let listed = self.ledger.relations.keys().copied().collect();
            let plan = self.standby_plan(Some(listed))?;
            if plan.is_idle() {
                return Ok(Turn::Nothing);
            }
            if !self.leads()? {
                return Ok(Turn::Write(Box::new(plan)));
            }
        }
        let reason = "leadership came back, and another unit has published meanwhile";
        self.write_everything(self.world(Scope::Everything(reason))?)
    }

    fn standby_plan(&self, relations: Option<Vec<RelationId>>) -> Result<Plan, Scope> {
        let own_bags = self.evidence.own_bags.as_ref();
        let own_bags = own_bags.ok_or(Scope::OwnBags(relations))?;
        let mut ledger = self.ledger.clone();
        if ledger.leader.is_none() {
            // Nobody has read the options for the ledger yet.
            ledger.options = self.options()?.clone();
        }
        let plan = plan::of_standby(&ledger, self.unit, own_bags);
        Ok(plan)
    }

    fn plan_of(&self, learned: Learned) -> Result<Plan, Scope> {
        let goal = match queue::asks_about(self.ledger, &learned.ledger).is_empty() {
            true => None,
            false => self.goal()?,
        };
        let moment = Moment::of(self.evidence.now, self.ledger, &learned.ledger, goal);
        let seen = self.evidence.world.as_ref();
        Ok(plan::of(self.ledger, learned, seen, &moment))
    }

    fn nudge(&self, learned: &mut Learned, at_once: bool) {
        let Learned { ledger, notes, .. } = learned;
        let held = ledger.nudge.as_deref();
        let next = nudge(held, &ledger.waiting(), self.evidence.now, at_once);
        if next.is_some() {
            ledger.nudge = next;
            notes.push(Note::info("nudge: hosts wait, so consumers act again"));
        }
    }

    /// A unit that Juju removes sees its relations broken one by one, and may still be leader. They
    /// stay where they are, so it must not decide as if they were gone.
    fn is_to_stay(&self) -> Result<bool, Scope> {
        let goal = self.goal()?;
        Ok(goal.and_then(|goal| goal.is_leaving(self.unit)) == Some(false))
    }

    /// The relation and the unit of this event, if it is one.
    pub(super) fn event(&self) -> Option<(RelationId, &'a UnitName)> {
        match self.occasion {
            Occasion::Heard(relation, unit) | Occasion::Departed(relation, unit) => {
                Some((*relation, unit))
            }
            _ => None,
        }
    }

    /// The bag of that unit.
    pub(super) fn event_bag(&self) -> Result<Option<&'a Databag>, Scope> {
        let Some((relation, unit)) = self.event() else {
            return Ok(None);
        };
        let key = (relation, unit.clone());
        match self.evidence.bags.get(&key) {
            Some(bag) => Ok(bag.as_ref()),
            None => Err(Scope::Units(vec![key])),
        }
    }

    fn leads(&self) -> Result<bool, Scope> {
        self.evidence.leads.ok_or(Scope::Leadership)
    }

    pub(super) fn goal(&self) -> Result<Option<&'a GoalState>, Scope> {
        let goal = self.evidence.goal.as_ref().ok_or(Scope::Goal)?;
        Ok(goal.as_ref())
    }

    pub(super) fn options(&self) -> Result<&'a Options, Scope> {
        self.evidence.options.as_ref().ok_or(Scope::Options)
    }

    /// The units that have joined the relations whose units goal-state does not list.
    pub(super) fn joined(&self) -> Result<BTreeMap<RelationId, BTreeSet<UnitName>>, Scope> {
        let goal = self.goal()?;
        let is_silent = |app: &str| goal.and_then(|goal| goal.expected(app)).is_none();
        let current = self
            .ledger
            .relations
            .iter()
            .filter(|(_, listed)| listed.is_current);
        let silent = current.filter(|(_, listed)| is_silent(&listed.app));
        let silent: Vec<_> = silent.map(|(id, _)| *id).collect();
        match &self.evidence.joined {
            _ if silent.is_empty() => Ok(BTreeMap::new()),
            Some(joined) => Ok(joined.clone()),
            None => Err(Scope::Joined(silent)),
        }
    }

    /// The relations that Juju serves again, of those whose bags may not show the ledger.
    pub(super) fn served_again(&self) -> Result<BTreeSet<RelationId>, Scope> {
        let listed = self.ledger.relations.iter();
        let marked = listed.filter(|(_, listed)| !listed.is_current);
        let marked: Vec<_> = marked.map(|(id, _)| *id).collect();
        match &self.evidence.served {
            _ if marked.is_empty() => Ok(BTreeSet::new()),
            Some(served) => Ok(served.clone()),
            None => Err(Scope::Served(marked)),
        }
    }

    /// What relation-created looks at.
    pub(super) fn new_relation(&self) -> Result<&'a World, Scope> {
        match self.occasion {
            Occasion::Created(relation) => self.world(Scope::NewRelation(*relation)),
            _ => self.world(Scope::Everything("no relation is new")),
        }
    }

    fn world(&self, scope: Scope) -> Result<&'a World, Scope> {
        self.evidence.world.as_ref().ok_or(scope)
    }
}
