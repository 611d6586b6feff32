//! What becomes of joins that overlap, as measured (contract 1, the table).

use serde::{Deserialize, Serialize};

/// Which microcluster, as far as two behave differently.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Series {
    /// v2.0.5 and v2.2.0: MicroOVN 24.03 and 25.03.
    #[default]
    V2,
    /// v3: MicroOVN 26.03. Before `add`, a join and a removal it looks whether its lists agree.
    V3,
}

/// The end of a join that was not alone, or that could not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The host is a member.
    Joined,
    /// Refused before the token was taken; v3 alone does this.
    Refused,
    /// The token is spent; the daemon forgets what it had begun.
    Spent,
    /// The token is spent; the daemon keeps an open database, and no member lists the host.
    HalfJoined,
    /// The command ran into its 30 s; the daemon goes on and is a member a little later.
    Late,
}

/// From so many under way at once, a v2 cluster loses its database for good: 50 of 50 of v2.0.5.
pub(super) const TOO_MANY: usize = 25;

/// One row of the table: from so many under way at once, how the joins end, in shares of a total.
struct Row {
    from: usize,
    ends: &'static [(u32, End)],
}

/// "one after the other: 0 of 72", and "started 2 s, 5 s apart: 0 of 9, 0 of 5".
const ALONE: Row = Row {
    from: 1,
    ends: &[(1, End::Joined)],
};

const V2: [Row; 4] = [
    ALONE,
    // "9 at the same moment": 27 of 285 in all, "half-joined hosts among them".
    Row {
        from: 2,
        ends: &[(44, End::Joined), (3, End::Spent), (1, End::HalfJoined)],
    },
    // Not measured: between its neighbours.
    Row {
        from: 10,
        ends: &[(12, End::Joined), (3, End::Spent), (1, End::HalfJoined)],
    },
    // "16: the same end" on bare daemons; live, "four ran out of their 30 s" of sixteen.
    Row {
        from: 16,
        ends: &[
            (2, End::Joined),
            (2, End::Spent),
            (1, End::HalfJoined),
            (3, End::Late),
        ],
    },
];

const V3: [Row; 3] = [
    ALONE,
    // "14 of 168; 13 refused with the token unspent, one half-joined".
    Row {
        from: 2,
        ends: &[(154, End::Joined), (13, End::Refused), (1, End::HalfJoined)],
    },
    // "14 of 25: 7 refused, 7 reported failure and are members". Begins where v2's row begins:
    // between 9 and 25 nothing was measured.
    Row {
        from: 16,
        ends: &[(11, End::Joined), (7, End::Refused), (7, End::Late)],
    },
];

/// How a join ends that had so many under way beside it and itself at the most crowded moment.
pub(super) fn end(series: Series, crowd: usize, random: &mut fastrand::Rng) -> End {
    let rows: &[Row] = match series {
        Series::V2 => &V2,
        Series::V3 => &V3,
    };
    let fits = |row: &&Row| row.from <= crowd;
    let row = rows.iter().rev().find(fits).unwrap_or(&ALONE);
    let total: u32 = row.ends.iter().map(|(share, _)| share).sum();
    let mut drawn = random.u32(..total);
    for &(share, end) in row.ends {
        match drawn.checked_sub(share) {
            None => return end,
            Some(rest) => drawn = rest,
        }
    }
    unreachable!("what was drawn is below the total of the shares")
}
