//! The promises, and the search for a state that breaks one.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use microovn::consumer::Release;
use stateright::{Checker, Model, Property};

use crate::world::{Hook, Setup, State, Step, World};

/// A nudge at most this often: the longest pause of all.
const SIX_HOURS: u64 = 6 * 60 * 60;
/// When everything happens that may happen.
const NOW: u64 = 1000;

/// One setup with everything that may happen in it.
struct Protocol {
    world: World,
    /// States from which every host is known to join.
    good: Vec<Mutex<HashSet<u64>>>,
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.world.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        if state.broken().is_none() {
            actions.extend(self.world.steps(state));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        Some(self.world.after(state, step, NOW))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one cluster", |model: &Self, state: &State| {
                // A released consumer does not ask for permission.
                let promised = model.world.setup().release == Release::Newest
                    || model.world.setup().hosts.iter().all(|app| *app == 0);
                !promised || !state.is_split()
            }),
            Property::always(
                "no hook errs, no value is lost, no permission taken back",
                |_, state: &State| state.broken().is_none(),
            ),
            Property::always(
                "no mirror is up without a permission",
                |_, state: &State| !state.shows_a_mirror_without_permission(),
            ),
            Property::always("no value depends on one unit", |_, state: &State| {
                !state.keeps_a_value_in_a_unit_bag_alone()
            }),
            Property::always("one application may bootstrap", |_, state: &State| {
                !state.names_two_applications()
            }),
            Property::always(
                "every host joins once faults end",
                |model: &Self, state: &State| {
                    state.broken().is_some() || state.is_split() || model.all_join(state)
                },
            ),
        ]
    }
}

impl Protocol {
    /// Whether all hosts join if from here on every hook runs in turn and nothing fails.
    fn all_join(&self, state: &State) -> bool {
        let mut passed = Vec::new();
        let mut state = state.clone();
        for pause in 0..=8 {
            if pause > 0 {
                for unit in state.units().collect::<Vec<_>>() {
                    let status = Step::Start(unit, Hook::UpdateStatus);
                    // A unit in error runs no other hook.
                    if !state.retries(unit) {
                        state = self
                            .world
                            .after(&state, status, NOW + pause * 2 * SIX_HOURS);
                        state = self.world.after(&state, Step::End(unit), NOW);
                    }
                }
            }
            while let Some(next) = self.fair(&state) {
                if pause == 0 {
                    let print = fingerprint(&state);
                    if self.shard(print).contains(&print) {
                        return self.remember(passed);
                    }
                    passed.push(print);
                    assert!(passed.len() < 10_000, "it never comes to rest");
                }
                state = next;
            }
            if self.world.outside(&state).next().is_none() {
                return self.remember(passed);
            }
        }
        false
    }

    /// The next state in a schedule that is fair: each hook ends before the next one starts, and a
    /// hook that fails waits until nothing else is due.
    fn fair(&self, state: &State) -> Option<State> {
        if let Some(step) = state.needs_a_leader() {
            return Some(self.world.after(state, step, NOW));
        }
        if let Some(unit) = state.running() {
            return Some(self.world.after(state, Step::End(unit), NOW));
        }
        let (retrying, others): (Vec<_>, Vec<_>) =
            state.units().partition(|unit| state.retries(*unit));
        for unit in others.into_iter().chain(retrying) {
            if let Some(hook) = self.world.due(state, unit).into_iter().next() {
                let next = self.world.after(state, Step::Start(unit, hook), NOW);
                // One that fails again changes nothing; others may.
                if next != *state {
                    return Some(next);
                }
            }
        }
        None
    }

    fn shard(&self, print: u64) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        let shard = &self.good[print as usize % self.good.len()];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, passed: Vec<u64>) -> bool {
        for print in passed {
            self.shard(print).insert(print);
        }
        true
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// The longest history without a detour.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The promises that are broken, each with a shortest history to where.
    pub broken: Vec<(&'static str, Vec<Step>)>,
}

/// Explores every state of a setup.
pub fn check(setup: Setup, threads: usize) -> Report {
    let model = Protocol {
        world: setup.into(),
        good: (0..64).map(|_| Mutex::default()).collect(),
    };
    let start = Instant::now();
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let discoveries = checker.discoveries().into_iter();
    let mut broken: Vec<_> = discoveries
        .map(|(promise, path)| (promise, path.into_actions()))
        .collect();
    broken.sort_by_key(|(promise, _)| *promise);
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        broken,
    }
}
