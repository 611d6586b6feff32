//! What the leader does in each hook (spec 5).
//!
//! An event is answered from the ledger and one bag. The ledger says whose turn it is: where it
//! names this unit, leadership is asked only when there is something to write; where it names
//! another, or none, a leader looks at everything.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use tracing::debug;

use super::{Memory, Run, RunError, apply, log, look};
use crate::core::bootstrap::{bag_shows_cluster, ledger_shows_cluster};
use crate::core::learn::{self, Learned};
use crate::core::ledger::{Ledger, Place};
use crate::core::names::{RelationId, UnitName};
use crate::core::note::Note;
use crate::core::nudge::nudge;
use crate::core::plan::{self, Plan};
use crate::core::queue::{self, Moment};
use crate::core::wire::{self, Databag};
use crate::core::world::World;
use look::Scope;

pub(super) use look::Leaving;

impl Run<'_> {
    /// relation-joined: most units have said nothing yet, and these hooks end after one call.
    pub(super) fn unit_joined(
        &mut self,
        relation: RelationId,
        unit: &UnitName,
    ) -> Result<(), RunError> {
        match look::unit_bag(self.tools, relation, unit)? {
            Some(bag) if learn::says_something(&bag) => self.learn_unit(relation, unit, Some(bag)),
            _ => Ok(()),
        }
    }

    /// relation-changed: most units say nothing new, and these hooks end after three calls.
    pub(super) fn unit_changed(
        &mut self,
        relation: RelationId,
        unit: &UnitName,
    ) -> Result<(), RunError> {
        self.learn_unit(relation, unit, None)
    }

    /// What one unit says. Its `bag`, if it has been read already.
    fn learn_unit(
        &mut self,
        relation: RelationId,
        unit: &UnitName,
        bag: Option<Databag>,
    ) -> Result<(), RunError> {
        let memory = self.memory()?;
        let before = &memory.ledger;
        if !self.answers_from(before, relation) {
            // Whoever leads, what is known already is no news.
            let is_known = before.is_shown_in(relation)
                && bag.is_some_and(|bag| learn::unit(before, unit, &bag).ledger == *before);
            return match is_known {
                true => Ok(()),
                false => self.everything_if_leader(&memory, Leaving::default()),
            };
        }
        let bag = match bag {
            Some(bag) => Some(bag),
            None => look::unit_bag(self.tools, relation, unit)?,
        };
        let Some(bag) = bag else {
            return Ok(());
        };
        if before.place(unit.app()) == Place::Unknown
            && look::place(self.tools, before, unit.app()) != Place::Unknown
        {
            debug!(
                "Juju lists units of {} now: looking at everything",
                unit.app()
            );
            return self.everything_if_leader(&memory, Leaving::default());
        }
        let mut learned = learn::unit(before, unit, &bag);
        // Hosts seldom come alone, and one write for all of them is one hook of every consumer. So
        // the first to come are asked for before their hooks: once Juju has shown us the bag of a
        // unit that has joined, it shows the same one until that unit's next hook.
        let asks_others = learned.has_new_claim || before.hosts.is_empty();
        if learned.ledger == *before && !asks_others {
            return self.let_in(&memory);
        }
        if !self.tools.is_leader()? {
            return Ok(());
        }
        if learned.asks_for_everything || before.left_out.is_some() {
            return self.everything(&memory, Leaving::default());
        }
        if asks_others {
            let unheard = look::unheard(self.tools, &learned.ledger, unit.app());
            let units = unheard.into_iter().filter(|other| other != unit).collect();
            let newcomers = look::bags_of_newcomers(self.tools, relation, units)?;
            let newcomers = newcomers.iter().map(|(unit, bag)| (unit, bag));
            learned = learn::units(before, iter::once((unit, &bag)).chain(newcomers));
            if learned.asks_for_everything {
                return self.everything(&memory, Leaving::default());
            }
        }
        if learned.ledger == *before {
            return self.let_in(&memory);
        }
        self.carry_out(&memory, self.plan_of_event(before, learned))
    }

    /// relation-departed.
    pub(super) fn unit_departed(
        &mut self,
        relation: RelationId,
        unit: &UnitName,
    ) -> Result<(), RunError> {
        let memory = self.memory()?;
        let before = &memory.ledger;
        let leaving = Leaving {
            unit: Some(unit.clone()),
            ..Leaving::default()
        };
        let is_answered = self.answers_from(before, relation);
        if !is_answered && !self.tools.is_leader()? {
            return Ok(());
        }
        // Nobody lists the unit any more, so a look at everything does not find this bag.
        let bag = look::unit_bag(self.tools, relation, unit)?.unwrap_or_default();
        let mut learned = learn::departure(before, unit, &bag);
        let was_communicator = before.communicators.contains_key(unit) || wire::is_up(&bag);
        if was_communicator {
            self.nudge(&mut learned, true);
        }
        if !is_answered {
            return self.everything_beside(&memory, learned, leaving);
        }
        // The choice may have rested on this unit, or on its word that a cluster exists.
        let rested = before.bootstrap_app.as_deref() == Some(unit.app())
            || ledger_shows_cluster(before)
            || bag_shows_cluster(&bag);
        let unsettles = rested && !ledger_shows_cluster(&learned.ledger);
        if learned.ledger == *before && !unsettles {
            return self.let_in(&memory);
        }
        if !self.tools.is_leader()? {
            return Ok(());
        }
        if unsettles || learned.asks_for_everything || before.left_out.is_some() {
            return self.everything_beside(&memory, learned, leaving);
        }
        self.carry_out(&memory, self.plan_of_event(before, learned))
    }

    /// relation-broken. A unit that Juju removes sees its relations broken one by one, and may still
    /// be leader. They stay where they are, so it must not decide as if they were gone.
    pub(super) fn relation_broken(&mut self, relation: RelationId) -> Result<(), RunError> {
        let Some(memory) = self.memory_if_any()? else {
            return Ok(());
        };
        if !self.tools.is_leader()? {
            return Ok(());
        }
        if self.tools.is_leaving() != Some(false) {
            return Ok(());
        }
        let leaving = Leaving {
            relation: Some(relation),
            ..Leaving::default()
        };
        self.everything(&memory, leaving)
    }

    /// relation-created: what is known is published at once, for the released consumers act on what
    /// they see a second later. Units are read when they join.
    pub(super) fn relation_created(
        &mut self,
        memory: &Memory,
        relation: RelationId,
    ) -> Result<(), RunError> {
        let before = &memory.ledger;
        if before.is_led_by_another(self.own_unit()) {
            return self.everything(memory, Leaving::default());
        }
        let scope = Scope::NewRelation(relation);
        let world = self.look(before, scope, &Leaving::default())?;
        let learned = learn::everything(before, &world, self.own_unit());
        let is_chosen_anew =
            before.bootstrap_app.is_some() && learned.ledger.bootstrap_app != before.bootstrap_app;
        // The units of another relation that Juju serves again may have written unseen.
        let marked = before.relations.iter();
        let mut marked = marked.filter(|(id, listed)| !listed.is_current && **id != relation);
        let serves_another_again = marked.any(|(id, _)| world.relations.contains_key(id));
        if is_chosen_anew || serves_another_again || has_a_past(before, &world) {
            return self.everything(memory, Leaving::default());
        }
        self.carry_out_everything(memory, self.plan_of_everything(before, learned, &world))
    }

    /// update-status.
    pub(super) fn update_status(&mut self, memory: &Memory) -> Result<(), RunError> {
        /// Units that are read each time: enough to find those whose hooks never ran.
        const UNITS: usize = 8;

        let before = &memory.ledger;
        let is_undecided = before.bootstrap_app.is_none() && !before.apps().is_empty();
        let waits = !before.waiting().is_empty();
        if waits || is_undecided || before.left_out.is_some() || !before.is_led_by(self.own_unit())
        {
            return self.everything_with_nudge(memory);
        }
        // Juju runs no config-changed for `juju config --reset`.
        if look::options(self.tools)? != before.options {
            debug!("the options are others: looking at everything");
            return self.everything_with_nudge(memory);
        }
        if self.serves_again(before)? {
            debug!("Juju serves a relation again that was passed over: looking at everything");
            return self.everything_with_nudge(memory);
        }
        let mut unheard = Vec::new();
        for (id, listed) in &before.relations {
            if listed.is_current {
                let units = look::unheard_or_joined(self.tools, before, *id, &listed.app);
                unheard.extend(units.into_iter().map(|unit| (*id, unit)));
            }
        }
        // Not always the same ones: some units may never announce a host.
        if let Some(turn) = usize::try_from(self.now / 300)
            .ok()
            .and_then(|turn| turn.checked_rem(unheard.len()))
        {
            unheard.rotate_left(turn);
        }
        unheard.truncate(UNITS);
        if let Some(unit) = look::unexpected(self.tools, before) {
            debug!("{unit} is not expected any more: looking at everything");
            return self.everything_with_nudge(memory);
        }
        for (relation, unit) in unheard {
            let bag = look::unit_bag(self.tools, relation, &unit)?.unwrap_or_default();
            if learn::unit(before, &unit, &bag).ledger != *before {
                debug!("{unit} has been heard by no hook: looking at everything");
                return self.everything_with_nudge(memory);
            }
        }
        let plan = plan::of_update_status(before, &self.moment(before, before));
        self.carry_out_everything(memory, plan)
    }

    /// Looks at everything, every relation and every unit, and makes good what differs.
    pub(super) fn everything(&mut self, memory: &Memory, leaving: Leaving) -> Result<(), RunError> {
        self.everything_beside(memory, Learned::nothing(&memory.ledger), leaving)
    }

    /// The same, beside what was learned already.
    fn everything_beside(
        &mut self,
        memory: &Memory,
        known: Learned,
        leaving: Leaving,
    ) -> Result<(), RunError> {
        let before = &memory.ledger;
        let world = self.look(before, Scope::Everything, &leaving)?;
        let mut learned = learn::everything(&known.ledger, &world, self.own_unit());
        learned.notes = [known.notes, learned.notes].concat();
        let plan = self.plan_of_everything(before, learned, &world);
        self.carry_out_everything(memory, plan)
    }

    fn everything_with_nudge(&mut self, memory: &Memory) -> Result<(), RunError> {
        let before = &memory.ledger;
        let world = self.look(before, Scope::Everything, &Leaving::default())?;
        let mut learned = learn::everything(before, &world, self.own_unit());
        let Learned { ledger, notes, .. } = &mut learned;
        learn::clear_used_tokens(ledger, notes);
        self.nudge(&mut learned, false);
        let plan = self.plan_of_everything(before, learned, &world);
        self.carry_out_everything(memory, plan)
    }

    /// `cluster-relation-changed`, run by this unit's own write of the ledger: the only clock that
    /// Juju gives a charm. While the host in turn will not tell by an event of its own, the hook
    /// waits a little, and its write brings the next run. It waits no longer than this because hooks
    /// of one machine exclude each other, and that host may be a unit of the same machine.
    pub(super) fn clock(&mut self, memory: &Memory) -> Result<(), RunError> {
        const PAUSE: Duration = Duration::from_secs(1);
        const PAUSES: usize = 2;

        let before = &memory.ledger;
        if !queue::needs_the_clock(before) {
            return self.let_in(memory);
        }
        let mut plan = self.plan_of_now(before);
        for _ in 0..PAUSES {
            if !plan.is_idle() {
                break;
            }
            self.tools.wait(PAUSE);
            self.now += PAUSE.as_secs();
            plan = self.plan_of_now(before);
        }
        if plan.is_idle() {
            queue::tick(&mut plan.ledger);
        }
        match self.tools.is_leader()? {
            true => self.carry_out(memory, plan),
            false => Ok(()),
        }
    }

    /// Lets the next host in, if it is time, where nothing else is new.
    fn let_in(&mut self, memory: &Memory) -> Result<(), RunError> {
        let before = &memory.ledger;
        if before.queue.is_empty() {
            return Ok(());
        }
        let plan = self.plan_of_event(before, Learned::nothing(before));
        match !plan.is_idle() && self.tools.is_leader()? {
            true => self.carry_out(memory, plan),
            false => Ok(()),
        }
    }

    fn plan_of_now(&self, before: &Ledger) -> Plan {
        let asked = queue::asks_about(before, before);
        let goal = self.tools.goal_state_now();
        let moment = Moment {
            now: self.now,
            workloads: goal.map_or_else(BTreeMap::new, |goal| goal.workloads(&asked)),
        };
        plan::of_event(before, Learned::nothing(before), &moment)
    }

    fn plan_of_event(&self, before: &Ledger, learned: Learned) -> Plan {
        let moment = self.moment(before, &learned.ledger);
        plan::of_event(before, learned, &moment)
    }

    pub(super) fn plan_of_everything(
        &self,
        before: &Ledger,
        learned: Learned,
        world: &World,
    ) -> Plan {
        let moment = self.moment(before, &learned.ledger);
        plan::of_everything(before, learned, world, &moment)
    }

    pub(super) fn moment(&self, before: &Ledger, after: &Ledger) -> Moment {
        let asked = queue::asks_about(before, after);
        let goal = (!asked.is_empty()).then(|| self.tools.goal_state());
        Moment {
            now: self.now,
            workloads: goal
                .flatten()
                .map_or_else(BTreeMap::new, |goal| goal.workloads(&asked)),
        }
    }

    fn everything_if_leader(&mut self, memory: &Memory, leaving: Leaving) -> Result<(), RunError> {
        match self.tools.is_leader()? {
            true => self.everything(memory, leaving),
            false => Ok(()),
        }
    }

    /// Reads everything that the leader may see.
    pub(super) fn look(
        &mut self,
        before: &Ledger,
        scope: Scope,
        leaving: &Leaving,
    ) -> Result<World, RunError> {
        let mut world = look::world(self.tools, before, scope, leaving, true)?;
        world.siblings_are_news |= self.may_follow_another;
        self.log_level.clone_from(&world.options.log_level);
        Ok(world)
    }

    /// Whether an event of this relation can be answered from the ledger.
    fn answers_from(&self, ledger: &Ledger, relation: RelationId) -> bool {
        ledger.is_led_by(self.own_unit())
            && ledger.is_shown_in(relation)
            && ledger.bootstrap_app.is_some()
    }

    /// Whether Juju serves a relation whose bags may not show the ledger.
    fn serves_again(&self, ledger: &Ledger) -> Result<bool, RunError> {
        if ledger.relations.values().all(|listed| listed.is_current) {
            return Ok(false);
        }
        let mut ids = self.tools.relation_ids()?.into_iter();
        Ok(ids.any(|id| !ledger.is_shown_in(id) && look::is_served(self.tools, id)))
    }

    fn nudge(&self, learned: &mut Learned, at_once: bool) {
        let Learned { ledger, notes, .. } = learned;
        let held = ledger.nudge.as_deref();
        let next = nudge(held, &ledger.waiting(), self.now, at_once);
        if next.is_some() {
            ledger.nudge = next;
            notes.push(Note::info("nudge: hosts wait, so consumers act again"));
        }
    }

    fn carry_out(&mut self, memory: &Memory, plan: Plan) -> Result<(), RunError> {
        log(&plan.notes);
        apply::plan(self.tools, memory.peer, &plan)?;
        if plan.changes_the_status() {
            apply::set_leaders_status(self.tools, &plan.status());
        }
        Ok(())
    }

    /// The same, with the status compared with what Juju shows.
    pub(super) fn carry_out_everything(
        &mut self,
        memory: &Memory,
        plan: Plan,
    ) -> Result<(), RunError> {
        log(&plan.notes);
        apply::plan(self.tools, memory.peer, &plan)?;
        apply::leaders_status(self.tools, &plan.status());
        Ok(())
    }
}

/// Whether the own bags of a relation that the ledger does not list show something: the Python
/// charm published there, or the relation was suspended. Hosts may have come and gone unseen.
fn has_a_past(ledger: &Ledger, world: &World) -> bool {
    world.relations.iter().any(|(id, relation)| {
        let is_listed = ledger.relations.contains_key(id);
        let own_app = relation.own_app.as_ref();
        let own_unit = relation.own_unit.as_ref();
        let shows =
            |bag: &Databag| bag.contains_key(wire::MIRROR) || bag.contains_key(wire::BOOTSTRAP_APP);
        let siblings = relation.siblings.values();
        !is_listed
            && own_app
                .into_iter()
                .chain(own_unit)
                .chain(siblings)
                .any(shows)
    })
}
