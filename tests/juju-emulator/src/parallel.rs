//! Many plays at a time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

/// What `work` makes of each of `items`, in their order: so many at a time, or one on each core.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    jobs: Option<usize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let available = thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or(available).clamp(1, items.len().max(1));
    let next = AtomicUsize::new(0);
    let take = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        items.get(at).map(|item| (at, work(item)))
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| scope.spawn(|| iter::from_fn(take).collect::<Vec<_>>()))
            .collect();
        let results = workers.into_iter().map(thread::ScopedJoinHandle::join);
        results
            .flat_map(|done| done.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        for jobs in [None, Some(0), Some(1), Some(7), Some(2000)] {
            assert_eq!(each(&items, jobs, |item| *item), items, "{jobs:?}");
        }
        assert!(each(&[], None, |_: &u32| ()).is_empty());
    }

    #[test]
    #[should_panic(expected = "as it is")]
    fn a_panic_is_passed_on() {
        each(&[()], None, |()| panic!("as it is"));
    }
}
