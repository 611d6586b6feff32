//! The promises, and the search for a state that breaks one.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use microovn::consumer::Release;
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::setup::Setup;
use crate::state::{Broken, State};
use crate::steps::{Step, World};

/// The hosts form one cluster.
pub const ONE_CLUSTER: &str = "one cluster";
/// None of [`Broken`].
pub const NO_STEP_BREAKS: &str = "no step breaks a promise";
/// A mirror is up only beside an application that may bootstrap.
pub const PERMISSION_FIRST: &str = "no mirror is up without a permission";
/// In the words of either protocol.
pub const ONE_MAY_BOOTSTRAP: &str = "one application may bootstrap";
/// See [`End`].
pub const ENDS_WELL: &str = "left alone it ends well";

/// One setup with everything that may happen in it.
struct Protocol {
    world: World,
    /// States that are known to end well.
    good: Vec<Mutex<HashSet<u64>>>,
    /// The promises that are known to be broken. The checker would go on to replace the first
    /// history by a longer one.
    broken: Mutex<HashSet<&'static str>>,
}

/// How a history ends that is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Good,
    /// A host waits in vain.
    HostOutside,
    /// No mirror is up, or more than one.
    NotOneMirror,
    /// A token that was used stands in a bag after update-status. The first protocol's consumers
    /// keep theirs.
    TokenLeft,
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
        Some(self.world.after(state, step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_CLUSTER, |model: &Self, state: &State| {
                // A released consumer does not ask for permission.
                let promised = model.world.setup().release != Release::Released
                    || model.world.setup().hosts.iter().all(|app| *app == 0);
                model.keeps(ONE_CLUSTER, !promised || !state.is_split())
            }),
            Property::always(NO_STEP_BREAKS, |model: &Self, state: &State| {
                model.keeps(NO_STEP_BREAKS, state.broken().is_none())
            }),
            Property::always(PERMISSION_FIRST, |model: &Self, state: &State| {
                model.keeps(PERMISSION_FIRST, !state.shows_a_mirror_without_permission())
            }),
            Property::always(ONE_MAY_BOOTSTRAP, |model: &Self, state: &State| {
                model.keeps(ONE_MAY_BOOTSTRAP, !state.permits_two_applications())
            }),
            Property::always(ENDS_WELL, |model: &Self, state: &State| {
                let is_over = state.broken().is_some() || state.is_split();
                model.keeps(ENDS_WELL, is_over || model.end_of(state) == End::Good)
            }),
        ]
    }
}

impl Protocol {
    /// How it ends if from here on every hook runs in turn and nothing goes wrong.
    fn end_of(&self, state: &State) -> End {
        let mut passed = Vec::new();
        let mut state = state.clone();
        let mut end = End::HostOutside;
        for update_statuses in 0..=8 {
            if update_statuses > 0 {
                state = self.world.after_a_while(&state);
            }
            while let Some(next) = self.world.fair(&state) {
                if update_statuses == 0 {
                    let print = fingerprint(&state);
                    if self.shard(print).contains(&print) {
                        return self.remember(passed);
                    }
                    passed.push(print);
                    assert!(passed.len() < 10_000, "it never comes to rest");
                }
                state = next;
            }
            let used_tokens_go = self.world.setup().release == Release::Second;
            end = match () {
                () if !state.shows_one_mirror() => return End::NotOneMirror,
                () if self.world.outside(&state).next().is_some() => End::HostOutside,
                () if used_tokens_go && (update_statuses == 0 || state.shows_a_token()) => {
                    End::TokenLeft
                }
                () => return self.remember(passed),
            };
        }
        end
    }

    fn shard(&self, print: u64) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        let shard = &self.good[print as usize % self.good.len()];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, passed: Vec<u64>) -> End {
        for print in passed {
            self.shard(print).insert(print);
        }
        End::Good
    }

    /// Whether the promise is kept, or was broken before.
    fn keeps(&self, promise: &'static str, is_kept: bool) -> bool {
        let broken = || self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        is_kept || !broken().insert(promise)
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
    pub broken: Vec<BrokenPromise>,
}

/// A promise that does not hold.
#[derive(Clone, Debug)]
pub struct BrokenPromise {
    /// What was promised.
    pub promise: &'static str,
    /// By which step it is broken, if one breaks it.
    pub by_step: Option<Broken>,
    /// How it ends if it is left alone from there.
    pub end: End,
    /// A shortest history to a state in which it is broken.
    pub history: Vec<Step>,
}

/// Explores every state of a setup, or until a promise is broken.
pub fn check(setup: Setup, threads: usize) -> Report {
    search(setup, threads, HasDiscoveries::AnyFailures)
}

/// Explores the states of a setup until this promise is broken, and gives a shortest history to
/// where it is.
pub fn find(promise: &'static str, setup: Setup) -> Option<BrokenPromise> {
    // Several threads may find a longer history first.
    let report = search(setup, 1, HasDiscoveries::AnyOf([promise].into()));
    let mut broken = report.broken.into_iter();
    broken.find(|broken| broken.promise == promise)
}

fn search(setup: Setup, threads: usize, until: HasDiscoveries) -> Report {
    let model = Protocol {
        world: setup.into(),
        good: (0..64).map(|_| Mutex::default()).collect(),
        broken: Mutex::default(),
    };
    let start = Instant::now();
    let checker = model.checker().threads(threads).finish_when(until);
    let checker = checker.spawn_bfs().join();
    let discoveries = checker.discoveries().into_iter();
    let broken = discoveries.map(|(promise, path)| {
        let state = path.last_state();
        BrokenPromise {
            promise,
            by_step: state.broken(),
            end: checker.model().end_of(state),
            history: path.clone().into_actions(),
        }
    });
    let mut broken: Vec<_> = broken.collect();
    broken.sort_by_key(|broken| broken.promise);
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        broken,
    }
}
