//! What stays the same in every state of one model, and what may go wrong in it.

use microovn::consumer::Release;

/// What stays the same in every state of one model.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which consumer all applications run.
    pub release: Release,
    /// The application of each host, by number: 0 or 1.
    pub hosts: Vec<usize>,
    /// How many units the distributor begins with.
    pub distributors: u8,
    /// Where the histories begin.
    pub start: Start,
    /// The second application is related later, at any time.
    pub related_later: bool,
    /// How many faults of each kind may happen, at any time.
    pub faults: Faults,
    /// The rule that one side breaks, where the checker is to find it.
    pub broken_rule: Option<Rule>,
}

/// Where the histories of a model begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Everything is deployed, and no hook has run.
    Deployed,
    /// Every host has joined and update-status has run everywhere, one hook after the other.
    Joined,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Leadership of the distributor moves although the leader lives.
    pub moves: u8,
    /// A distributor hook is lost at its end, or its commit refused, and it runs again.
    pub failures: u8,
    /// The same of a consumer hook; what it did to the cluster is done.
    pub consumer_failures: u8,
    /// A distributor unit is lost.
    pub losses: u8,
    /// A distributor unit is added.
    pub additions: u8,
    /// A consumer's machine is lost, but never the last member of a cluster.
    pub machines: u8,
    /// A consumer unit leaves the cluster and is removed, and a new one has its host name.
    pub redeployments: u8,
    /// A token expires.
    pub expiries: u8,
    /// Everything is at rest, and update-status comes for every unit.
    pub update_statuses: u8,
}

/// A rule that can be taken out of the distributor, or of the consumer of the second protocol: what
/// its hook reads or wrote is altered, and the rest of the model is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A former leader goes down only once the next one is up.
    StepDownComesLast,
    /// A former leader goes down in `cluster-relation-changed`.
    StandbysFollowTheLedger,
    /// A placeholder takes the place of no value.
    PlaceholdersOverwriteNothing,
    /// A mirror is up only beside a permission.
    PermissionComesFirst,
    /// A token that its host has refused is replaced.
    RefusedTokensAreReplaced,
    /// A spent token is shown until there is another.
    SpentTokensStayShown,
    /// A spent token is not learned again from a communicator that still offers it.
    SpentTokensAreNotLearned,
    /// The name of a member has the constant `member`.
    MembersAreAnswered,
    /// One application may bootstrap.
    OneMayBootstrap,
    /// A consumer that is in the cluster says so.
    MembersSaySo,
    /// A consumer bootstraps only with permission, and not beside the guard.
    BootstrapNeedsPermission,
    /// A consumer says which token it was refused.
    RefusalsAreSaid,
    /// A communicator mints another token for one that is spent.
    SpentTokensAreMintedAnew,
    /// A communicator says that its mirror is up.
    CommunicatorsAreUp,
    /// A consumer deletes its tokens that nobody needs any more.
    OutlivedTokensAreDeleted,
}
