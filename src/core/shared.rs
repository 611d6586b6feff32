//! A value that clones share until one of them changes it.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// A large part of the ledger. Every hook keeps the ledger as it was beside the ledger as it should
/// be, and most hooks change neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared<T>(Rc<T>);

impl<T> Shared<T> {
    /// Whether both are clones of one value that neither has changed.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Whoever may change the value has it alone from then on.
impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Rc::make_mut(&mut self.0)
    }
}

impl<A, T: FromIterator<A>> FromIterator<A> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = A>>(items: I) -> Self {
        Shared(Rc::new(items.into_iter().collect()))
    }
}
