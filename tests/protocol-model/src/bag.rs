//! A databag that is cheap to copy, to compare and to hash: states are made of them.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use microcluster_token_distributor::core::wire::Databag;

/// A databag with its hash.
#[derive(Clone, Debug)]
pub struct Bag {
    hash: u64,
    bag: Arc<Databag>,
}

impl Bag {
    /// The databag itself.
    pub(crate) fn shared(&self) -> Arc<Databag> {
        Arc::clone(&self.bag)
    }
}

impl From<Databag> for Bag {
    fn from(bag: Databag) -> Self {
        let mut hasher = DefaultHasher::new();
        bag.hash(&mut hasher);
        Bag {
            hash: hasher.finish(),
            bag: Arc::new(bag),
        }
    }
}

impl Default for Bag {
    fn default() -> Self {
        Databag::new().into()
    }
}

impl Deref for Bag {
    type Target = Databag;

    fn deref(&self) -> &Databag {
        &self.bag
    }
}

impl PartialEq for Bag {
    fn eq(&self, other: &Bag) -> bool {
        Arc::ptr_eq(&self.bag, &other.bag) || self.hash == other.hash && self.bag == other.bag
    }
}

impl Eq for Bag {}

impl Hash for Bag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}
