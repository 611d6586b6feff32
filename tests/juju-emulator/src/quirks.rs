//! What only some Jujus do, or do only at times: knobs of a [`Model`](crate::model::Model).
//!
//! Whatever a healthy 3.6.26 or 4.0.14 always does is no knob but follows from the generation.

use std::collections::BTreeSet;

use fastrand::Rng;

use crate::names::{AppName, RelationId, UnitName};

/// The knobs. They may be turned at any time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Quirks {
    /// `goal-state` fails with this text, as while certain cross-model relations exist
    /// (juju/juju#21152): `unit not found` and the like.
    pub goal_state_fails: Option<String>,
    /// `goal-state` leaves out related units and applications by chance. It never says more than
    /// there is.
    pub goal_state_omits: Option<Omissions>,
    /// How `goal-state` calls an application whose offer the model consumes; otherwise as this Juju
    /// does.
    pub consumed_offers: Option<ConsumedOffer>,
    /// No joined or changed of these units fires, as in some 4.0.x (juju/juju#21412, #21764,
    /// #22253).
    pub silent_units: BTreeSet<UnitName>,
}

/// By which chance `goal-state` leaves something out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omissions {
    /// Of each unit and each application, in percent.
    pub percent: u8,
    /// Decides.
    pub rng: Rng,
    /// The units that it has listed since somebody emptied this.
    pub listed: BTreeSet<UnitName>,
}

impl Omissions {
    /// Leaves out so many of a hundred, by a chance that follows from `seed`.
    pub fn new(percent: u8, seed: u64) -> Self {
        Self {
            percent,
            rng: Rng::with_seed(seed),
            listed: BTreeSet::new(),
        }
    }

    /// Whether the next one is left out.
    pub(crate) fn strikes(&mut self) -> bool {
        self.rng.u8(..100) < self.percent
    }
}

/// What `goal-state` has of an application whose offer the model consumes. It never has its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumedOffer {
    /// The name that it was consumed as.
    Name,
    /// The offer's URL.
    Url,
    /// Nothing.
    Nothing,
}

/// A relation that Juju still lists and no longer serves. Its events go on; what is asked about it
/// fails, and so does a commit that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unserved {
    /// What the tools say.
    pub complaint: Complaint,
    /// Who alone suffers; otherwise all do.
    pub only: Option<Party>,
}

/// Who takes part in a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// One unit.
    Unit(UnitName),
    /// All units of an application: one side of a relation.
    Application(AppName),
}

/// What tools say of a relation that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// What this Juju says by itself of a relation that its database does not have. What the agent
    /// remembers, it still answers: members, the remote application, bags of joined units.
    Usual,
    /// `permission denied`.
    PermissionDenied,
    /// `permission denied (unauthorized access)`.
    Unauthorized,
    /// `relation 7 not found`.
    NumberNotFound,
    /// `relation not found`, as a failure of the tool.
    NotFound,
    /// `getting regular relation by key: relation not found`.
    KeyNotFound,
    /// `relation unit not found`.
    UnitNotFound,
    /// The agent does not know the number, though it lists it: the flag is refused, with status 2.
    UnknownNumber,
}

impl Complaint {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Usual,
        Self::PermissionDenied,
        Self::Unauthorized,
        Self::NumberNotFound,
        Self::NotFound,
        Self::KeyNotFound,
        Self::UnitNotFound,
        Self::UnknownNumber,
    ];

    /// The words in which a tool fails with status 1, if that is how it fails in every case.
    pub fn words(self, id: RelationId) -> Option<String> {
        let words = match self {
            Self::Usual | Self::UnknownNumber => return None,
            Self::PermissionDenied => "permission denied",
            Self::Unauthorized => "permission denied (unauthorized access)",
            Self::NumberNotFound => return Some(format!("relation {id} not found")),
            Self::NotFound => "relation not found",
            Self::KeyNotFound => "getting regular relation by key: relation not found",
            Self::UnitNotFound => "relation unit not found",
        };
        Some(words.to_owned())
    }
}
