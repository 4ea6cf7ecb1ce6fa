//! The value of `Date`: IMF-fixdate (RFC 9110, section 5.6.7) from seconds since 1970, without libc or a locale.
//!
//! Days become a date by counting from 1 March of the year 0, in eras of 400 years: leap days then fall at the end of
//! a year and every step is a division by a constant. Where answers are many, they share their second: each thread
//! keeps the line that it wrote last. Cost: a copy, or about ten multiplications in a new second; the clock stays the
//! host's.

use super::block::Block;
use std::cell::Cell;

/// A moment that has a date of four-digit years: from 1970 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date(u64);

impl Date {
    /// From seconds since 1970-01-01 UTC; `None` before that and from the year 10000 on.
    pub fn from_unix(seconds: i64) -> Option<Date> {
        if (0..=LAST_SECOND).contains(&seconds) { Some(Date(seconds as u64)) } else { None }
    }

    /// The field, behind the end of the line before it.
    #[inline(always)]
    pub(super) fn line(self) -> Block<LINE> {
        // A thread that is ending has no such place only if something in it had a destructor.
        LAST.try_with(|last| {
            if last.second.get() != self.0 {
                last.renew(self);
            }
            last.line.get()
        })
        .unwrap_or(Block::EMPTY)
    }

    /// The value alone.
    pub(super) fn value(self, out: &mut [u8; 29]) -> &[u8] {
        self.imf_fixdate(out);
        out
    }

    /// "Sun, 06 Nov 1994 08:49:37 GMT"
    fn imf_fixdate(self, out: &mut [u8; 29]) {
        // The year 9999 is about 2.9 million days away, so everything behind this line fits 32 bits.
        let days = (self.0 / 86_400) as u32;
        let seconds = (self.0 % 86_400) as u32;

        let since_march_0 = days + 719_468;
        let era = since_march_0 / 146_097;
        let day_of_era = since_march_0 % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let year = era * 400 + year_of_era + u32::from(month_from_march >= 10);

        *out = *b"Sun, 00 Jan 0000 00:00:00 GMT";
        out[0..3].copy_from_slice(&WEEKDAYS[(days % 7) as usize]);
        out[8..11].copy_from_slice(&MONTHS_FROM_MARCH[(month_from_march % 12) as usize]);
        let [_, _, d0, d1, y0, y1, y2, y3] = four_pairs([0, day, year / 100, year % 100]);
        out[5..7].copy_from_slice(&[d0, d1]);
        out[12..16].copy_from_slice(&[y0, y1, y2, y3]);
        let [h0, h1, m0, m1, s0, s1, ..] = four_pairs([seconds / 3600, seconds / 60 % 60, seconds % 60, 0]);
        out[17..25].copy_from_slice(&[h0, h1, b':', m0, m1, b':', s0, s1]);
    }
}

thread_local! {
    /// `const` and without a destructor, so that reading it is an address and never fails.
    static LAST: Last = const { Last { second: Cell::new(u64::MAX), line: Cell::new(Block::EMPTY) } };
}

/// The line that this thread wrote last.
struct Last {
    /// At first one that no [`Date`] has.
    second: Cell<u64>,
    line: Cell<Block<LINE>>,
}

impl Last {
    #[cold]
    #[inline(never)]
    fn renew(&self, date: Date) {
        let mut line = *b"\r\nDate: Sun, 00 Jan 0000 00:00:00 GMT\0\0\0";
        if let Some(value) = line[NAME..].first_chunk_mut() {
            date.imf_fixdate(value);
        }
        self.line.set(Block::made(line, NAME + 29));
        self.second.set(date.0);
    }
}

/// "\r\nDate: "
const NAME: usize = 8;
/// Name and value, and what makes it a multiple of a register.
const LINE: usize = NAME + 29 + 3;

/// Four numbers below 100 as two digits each, in one go: each has 16 bits of a word to itself, and 205/2048 is a tenth
/// there.
#[inline]
fn four_pairs(n: [u32; 4]) -> [u8; 8] {
    let lanes = n.iter().rev().fold(0u64, |word, &n| word << 16 | u64::from(n));
    let tens = ((lanes * 205) >> 11) & 0x000f_000f_000f_000f;
    let ones = lanes - tens * 10;
    (tens | ones << 8 | 0x3030_3030_3030_3030).to_le_bytes()
}

/// 9999-12-31 23:59:59
const LAST_SECOND: i64 = 253_402_300_799;

/// 1970 began on a Thursday.
static WEEKDAYS: [[u8; 3]; 7] = [*b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed"];
static MONTHS_FROM_MARCH: [[u8; 3]; 12] =
    [*b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct", *b"Nov", *b"Dec", *b"Jan", *b"Feb"];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: i64) -> String {
        let line = Date::from_unix(seconds).unwrap().line();
        std::str::from_utf8(line.text()).unwrap().strip_prefix("\r\nDate: ").unwrap().to_owned()
    }

    #[test]
    fn known_moments() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(text(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(text(LAST_SECOND), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(Date::from_unix(-1), None);
        assert_eq!(Date::from_unix(LAST_SECOND + 1), None);
    }

    #[test]
    fn a_second_is_not_taken_for_the_one_before() {
        for seconds in [0, 0, 1, 0, 59, 60, 60] {
            assert_eq!(text(seconds), format!("Thu, 01 Jan 1970 00:{:02}:{:02} GMT", seconds / 60, seconds % 60));
        }
    }

    /// The slow twin counts days one by one.
    #[test]
    fn every_day_until_2500_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970u32, 0usize, 1u32);
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        for n in 0..193_600i64 {
            let want = format!("{}, {day:02} {} {year:04} 12:34:56 GMT", weekdays[n as usize % 7], months[month]);
            assert_eq!(text(n * 86_400 + 45_296), want);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
        assert!(year >= 2500);
    }
}
