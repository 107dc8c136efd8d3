//! The day of a moment, as pages show it. Invariant: the same moment is the same day everywhere, that of UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// Days of four hundred years: the calendar repeats after them.
const CYCLE: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const BEFORE_1970: u64 = 719_468;

/// `2026-03-01`; none for moments before 1970.
pub fn utc(moment: SystemTime) -> Option<String> {
    let seconds = moment.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let days = seconds / SECONDS_A_DAY + BEFORE_1970;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    // Years that begin in March have their leap day at the end, and months of 153 days in five.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = 400 * cycle + year + u64::from(month <= 2);
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_those_of_date() {
        // GNU coreutils: date -u -d @SECONDS +%F
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_772_323_199, "2026-02-28"),
            (1_772_323_200, "2026-03-01"),
            (4_107_542_400, "2100-03-01"),
            (4_107_542_399, "2100-02-28"),
        ] {
            let found = utc(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(found.as_deref(), Some(day), "{seconds}");
        }
        assert_eq!(utc(UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
