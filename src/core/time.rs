//! Points in time as Juju prints them.

/// Seconds since 1970 of a time like `2024-01-02 03:04:05Z`. `None`: it is no such time.
///
/// The executable links no library of dates for this one line.
pub fn seconds_since_1970(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once([' ', 'T'])?;
    let [year, month, day] = numbers(date, '-')?;
    // Other printers of Juju add fractions.
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && hour < 24
        && minute < 60
        && second <= 60;
    is_time.then(|| ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut words = text.split(separator).map(|word| word.parse().ok());
    let three = [words.next()??, words.next()??, words.next()??];
    words.next().is_none().then_some(three)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    /// Days before each month of a year that is no leap year.
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let leap_days = (1970..year).filter(|year| is_leap(*year)).count() as u64;
    let this_years = u64::from(month > 2 && is_leap(year));
    let before = BEFORE.iter().zip(1..).find(|(_, number)| *number == month);
    (year - 1970) * 365 + leap_days + before.map_or(0, |(days, _)| *days) + this_years + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_juju_prints_it() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00Z", Some(0)),
            ("2024-01-02 03:04:05Z", Some(1_704_164_645)),
            ("2024-02-29 23:59:59Z", Some(1_709_251_199)),
            ("2024-03-01 00:00:00Z", Some(1_709_251_200)),
            ("2100-03-01 00:00:00Z", Some(4_107_542_400)),
            ("2026-11-29T13:50:42.123456789Z", Some(1_795_960_242)),
            ("2024-01-02 03:04:05", None),
            ("2024-13-02 03:04:05Z", None),
            ("2024-01-02 24:04:05Z", None),
            ("2024-01-02Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(seconds_since_1970(text), seconds, "{text:?}");
        }
    }
}
