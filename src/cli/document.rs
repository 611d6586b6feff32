//! One file in, the units that `juju show-unit` shows in it out.
//!
//! People paste indented text, append one command's output to another's, redirect with PowerShell,
//! and copy the prompt with it. So a file is first taken apart by its lines: every unit is parsed
//! by itself, which keeps what the YAML library needs in proportion to one unit, and lines that are
//! no part of a unit are skipped with a note, or are the reason to refuse the file.

mod bytes;
mod lines;
mod shape;

use std::io::{self, Read};

use crate::core::names::{RelationId, UnitName};
use crate::core::wire::Databag;

/// More than a hundred times what Juju shows of a cluster of a thousand hosts, if one unit of each
/// application is named. Dumps of all units of such a model are larger, and say nothing more.
const LARGEST: usize = 64 << 20;

/// Why the input cannot be used. It names files, lines and units, never their content, which may be
/// a token.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Reading it would take more memory than is reasonable.
    #[error(
        "{file} is too large ({limit}): name one unit of the token distributor and one of each \
         related application, which show everything"
    )]
    TooLarge {
        /// Which file.
        file: String,
        /// What it exceeds.
        limit: &'static str,
    },
    /// It is no text.
    #[error("{file} is no text (byte {at}); unpack it, if it is packed")]
    NotText {
        /// Which file.
        file: String,
        /// Counted from 1.
        at: usize,
    },
    /// Nothing is in it.
    #[error("{file} is empty: it should hold what `juju show-unit` prints")]
    Empty {
        /// Which file.
        file: String,
    },
    /// It is neither YAML nor JSON.
    #[error("{file}: not {format} (line {line}, column {column})")]
    Syntax {
        /// Which file.
        file: String,
        /// What it looks like.
        format: &'static str,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It ends too early.
    #[error("{file} ends within line {line}: copy the whole of it")]
    CutOff {
        /// Which file.
        file: String,
        /// Counted from 1.
        line: usize,
    },
    /// Something is where `juju show-unit` never prints it.
    #[error("{file}: line {line}, column {column} is not what `juju show-unit` prints there")]
    Shape {
        /// Which file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A unit lacks what `juju show-unit` always prints.
    #[error("{file}: unit {unit} (line {line}) {lacks}")]
    Unit {
        /// Which file.
        file: String,
        /// Where the unit begins, or the JSON around it; counted from 1.
        line: usize,
        /// Which unit.
        unit: UnitName,
        /// What is wrong with it.
        lacks: &'static str,
    },
    /// Another command printed it.
    #[error(
        "{file}: line {line} is from `{command}`; `juju show-unit` shows what is needed here: name \
         one unit of the token distributor and one of each related application"
    )]
    OtherCommand {
        /// Which file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Which command.
        command: &'static str,
    },
    /// No unit is in it, or too much else.
    #[error("{file}: line {line} is not from `juju show-unit`, {why}")]
    NotShowUnit {
        /// Which file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Why reading stops.
        why: &'static str,
    },
    /// Two dumps of one unit disagree, and the input does not show which one is later.
    #[error(
        "unit {unit} is in the input twice and differs ({first}, and {second}): keep the later one; \
         units of two models go into two runs"
    )]
    UnitTwice {
        /// Which unit.
        unit: UnitName,
        /// Where it is first.
        first: String,
        /// Where it is again.
        second: String,
    },
    /// No unit of the distributor is in it.
    #[error("the input shows no unit of the token distributor: add `juju show-unit {unit}`")]
    NoDistributor {
        /// The unit to add, as far as the input shows.
        unit: String,
    },
    /// Several distributors are in it, and this is none of them.
    #[error("the input shows no unit of {app:?} as token distributor, but of {known}")]
    OtherDistributor {
        /// Which one was asked for.
        app: String,
        /// Which are there.
        known: String,
    },
}

/// What one file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its units, as they are written.
    pub units: Vec<ShownUnit>,
    /// What was skipped.
    pub notes: Vec<String>,
}

/// One unit as Juju shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownUnit {
    /// Its name.
    pub name: UnitName,
    /// File and line, for people.
    pub place: String,
    /// Where its charm comes from, such as `ch:amd64/microovn-48`.
    pub charm: String,
    /// Whether it leads its application.
    pub is_leader: bool,
    /// Its relations. Juju leaves out those in which no unit has written anything.
    pub relations: Vec<ShownRelation>,
}

impl ShownUnit {
    /// Whether both are the same unit in the same state, at any place in the input.
    pub fn agrees_with(&self, other: &ShownUnit) -> bool {
        let ShownUnit {
            name,
            place: _,
            charm,
            is_leader,
            relations,
        } = self;
        name == &other.name
            && charm == &other.charm
            && is_leader == &other.is_leader
            && relations == &other.relations
    }
}

/// One relation as Juju shows it to one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRelation {
    /// Its number, which is the same on both sides in one model.
    pub id: RelationId,
    /// The endpoint of this unit.
    pub endpoint: String,
    /// The endpoint of the other side.
    pub related_endpoint: String,
    /// Whether the other side is in another model.
    pub is_cross_model: bool,
    /// An application bag: up to Juju 3 the other side's, from Juju 4 the own one.
    pub application_data: Databag,
    /// This unit's own bag. Juju 3 shows it of peer relations only.
    pub local_unit: Option<Member>,
    /// Usually the units of the other side; their absence may mean that they were not asked for.
    pub related_units: Vec<(UnitName, Member)>,
}

/// A unit in a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether it has entered the relation and not left it.
    pub in_scope: bool,
    /// What it has written there.
    pub bag: Databag,
}

/// Reads all bytes, but not more than are worth it.
///
/// # Errors
/// When they cannot be read, or are too many.
pub fn read(file: &str, source: impl Read) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    let most = LARGEST as u64 + 1;
    let read = source.take(most).read_to_end(&mut bytes);
    read.map_err(|source| InputError::Read {
        file: file.to_owned(),
        source,
    })?;
    match bytes.len() > LARGEST {
        true => Err(InputError::TooLarge {
            file: file.to_owned(),
            limit: "over 64 MiB",
        }),
        false => Ok(bytes),
    }
}

impl Document {
    /// Understands one file.
    ///
    /// # Errors
    /// When it is not what `juju show-unit` prints.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, InputError> {
        let text = bytes::text(bytes).map_err(|at| InputError::NotText {
            file: file.to_owned(),
            at,
        })?;
        lines::units(file, &text)
    }
}

#[cfg(test)]
mod tests;
