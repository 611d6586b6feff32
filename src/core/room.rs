//! What has room in a databag (spec 3.7): the one place that knows. What has none is left out, the
//! latest first.

use std::collections::BTreeSet;

use crate::core::wire::{Change, Changes, Databag, printable};

/// Each databag is kept below this many bytes of keys and values. Juju refuses one over 16 MiB, and
/// only at the end of the hook, where everything that the hook wrote would be lost.
pub const CAPACITY: usize = 15 << 20;

/// Each databag is kept below this many keys. Juju 4 refuses one of 10 922.
pub const MOST_KEYS: usize = 10_000;

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

    /// Grows by so much if there is room for it, and says so. What takes no further key has room in a
    /// bag that is full of keys.
    pub fn grow(&mut self, bytes: usize, keys: usize) -> bool {
        let fits = |used: usize, more: usize, limit| more == 0 || used + more < limit;
        let has_room = fits(self.bytes, bytes, CAPACITY) && fits(self.keys, keys, MOST_KEYS);
        if has_room {
            self.bytes += bytes;
            self.keys += keys;
        }
        has_room
    }
}

/// Takes out of `changes` what `held` has no room for, and names those keys for a person.
pub fn leave_out(held: &Databag, changes: &mut Changes) -> BTreeSet<String> {
    let mut left_out = BTreeSet::new();
    let mut size = Size::of(held);
    changes.retain(|key, change| {
        let old = held.get(key).map(String::len);
        let has_room = match change {
            Change::Remove => {
                size.bytes -= old.map_or(0, |old| key.len() + old);
                size.keys -= usize::from(old.is_some());
                true
            }
            Change::Set(value) => match old {
                Some(old) => size.grow(value.len().saturating_sub(old), 0),
                None => size.grow(key.len() + value.len(), 1),
            },
        };
        if !has_room {
            left_out.insert(printable(key));
        }
        has_room
    });
    left_out
}
