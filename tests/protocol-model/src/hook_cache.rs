//! The hooks that were run before: the same view gives the same hook, and most states differ elsewhere.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// What was computed, in parts so that threads seldom wait for each other.
pub(crate) struct HookCache<K, V> {
    parts: Vec<Mutex<HashMap<K, V>>>,
    hasher: RandomState,
}

impl<K, V> Default for HookCache<K, V> {
    fn default() -> Self {
        HookCache {
            parts: (0..64).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl<K: Hash + Eq, V: Clone> HookCache<K, V> {
    /// The value for `key`, computed at most a few times.
    pub(crate) fn get(&self, key: K, compute: impl FnOnce(&K) -> V) -> V {
        let part = self.hasher.hash_one(&key) as usize % self.parts.len();
        let lock = || {
            self.parts[part]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = lock().get(&key) {
            return known.clone();
        }
        let value = compute(&key);
        lock().insert(key, value.clone());
        value
    }
}
