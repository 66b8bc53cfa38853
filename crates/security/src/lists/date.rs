//! Days of the calendar, without a clock or a time zone.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::Seconds;

use super::Error;

/// A day, as the number of days since 1970-01-01; up to the year 9999.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Date(u32);

impl Date {
    /// The day's first second, UTC.
    pub const fn start(self) -> Seconds {
        Seconds(self.0 as u64 * 86_400)
    }

    /// The day that a moment lies in.
    pub const fn of(moment: Seconds) -> Self {
        let day = moment.day();
        Self(if day > LAST as u64 { LAST } else { day as u32 })
    }
}

/// 9999-12-31.
const LAST: u32 = 2_932_896;

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first day of a year from 1970 on.
const fn days_before(year: u32) -> u32 {
    let before = year - 1;
    (year - 1970) * 365 + (before / 4 - before / 100 + before / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Date(text.chars().take(32).collect());
        let digits = text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
        if text.len() != 10 || !digits {
            return Err(refused());
        }
        let number = |from: usize, to: usize| text[from..to].parse::<u32>().map_err(|_| refused());
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
            return Err(refused());
        }
        Ok(Self(days_before(year) + (1..month).map(|month| days_in(year, month)).sum::<u32>() + day - 1))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 366 days at most a year, so that the guess is never too late.
        let mut year = 1970 + self.0 / 366;
        while year < 9999 && days_before(year + 1) <= self.0 {
            year += 1;
        }
        let (mut month, mut day) = (1, self.0.saturating_sub(days_before(year)));
        while month < 12 && day >= days_in(year, month) {
            day -= days_in(year, month);
            month += 1;
        }
        write!(f, "{year:04}-{month:02}-{:02}", day + 1)
    }
}

impl TryFrom<String> for Date {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_written_as_it_is_read() {
        let mut expected = 0;
        for year in 1970..=2110 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    let text = format!("{year:04}-{month:02}-{day:02}");
                    let date: Date = text.parse().unwrap();
                    assert_eq!(date.0, expected);
                    assert_eq!(date.to_string(), text);
                    expected += 1;
                }
            }
        }
        assert_eq!("9999-12-31".parse::<Date>().unwrap(), Date(LAST));
        assert_eq!(Date::of(Seconds(1_706_745_600)).to_string(), "2024-02-01");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-1-1",
            "2026/01/01",
            "２026-01-01",
        ] {
            assert_eq!(text.parse::<Date>().unwrap_err().code(), "list-date", "{text}");
        }
    }
}
