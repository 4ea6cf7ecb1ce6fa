//! Retry-After, read: a number of seconds or a date (RFC 9110, sections 10.2.3 and 5.6.7).
//!
//! A recipient must take three forms of a date: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" and
//! "Sun Nov  6 08:49:37 1994". The weekday is not looked at; a year of two digits that seems to lie more than 50 years ahead
//! lies in the century before. Linear, no allocation, no locale; the clock is the host's.

/// Longer ones are cut to a day.
const MOST_S: u64 = 86_400;

/// Seconds from now; 0: it says nothing that can be used.
pub fn retry_after_s(value: &[u8], unix_s: i64) -> u32 {
    let value = value.trim_ascii();
    let seconds = if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        value.iter().fold(0u64, |n, &digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    } else {
        date(value, unix_s).map_or(0, |at| u64::try_from(at.saturating_sub(unix_s)).unwrap_or(0))
    };
    seconds.min(MOST_S) as u32
}

/// Seconds since 1970.
fn date(value: &[u8], unix_s: i64) -> Option<i64> {
    let mut parts = [&b""[..]; 8];
    let mut count = 0;
    for part in value.split(|b| matches!(b, b' ' | b'-' | b',')).filter(|part| !part.is_empty()) {
        *parts.get_mut(count)? = part;
        count += 1;
    }
    // Weekday, day, month, year, time, "GMT"; or weekday, month, day, time, year.
    let (day, month, year, time) = match parts[..count] {
        [_, day, month, year, time, b"GMT"] => (day, month, year, time),
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year) = (number(day, 1, 31)?, full_year(year, unix_s)?);
    let mut clock = time.split(|&b| b == b':');
    let (hour, minute, second) =
        (number(clock.next()?, 0, 23)?, number(clock.next()?, 0, 59)?, number(clock.next()?, 0, 60)?);
    clock.next().is_none().then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn full_year(text: &[u8], unix_s: i64) -> Option<i64> {
    let this = 1970 + unix_s.clamp(0, 253_402_300_799) / 31_556_952;
    match text.len() {
        4 => number(text, 1601, 9999),
        2 => {
            let year = this - this % 100 + number(text, 0, 99)?;
            Some(if year > this + 50 { year - 100 } else { year })
        }
        _ => None,
    }
}

fn number(text: &[u8], least: i64, most: i64) -> Option<i64> {
    if text.is_empty() || text.len() > 4 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = text.iter().fold(0, |n, &digit| n * 10 + i64::from(digit - b'0'));
    (least..=most).contains(&n).then_some(n)
}

/// Days since 1970-01-01, counted from 1 March: leap days fall at the end of a year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: i64 = 784_111_777;

    #[test]
    fn seconds_and_all_three_forms_of_a_date() {
        for (value, seconds) in [
            ("120", 120),
            (" 7 ", 7),
            ("99999999999999999999999", 86_400),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 30),
            ("Sun Nov  6 08:49:37 1994", 30),
            ("Tue, 06 Nov 2035 08:49:37 GMT", 86_400),
        ] {
            assert_eq!(retry_after_s(value.as_bytes(), THEN - 30), seconds, "{value}");
        }
    }

    #[test]
    fn what_is_over_or_nonsense_is_0() {
        for value in [
            "",
            "-1",
            "1.5",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x y z",
            "Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(retry_after_s(value.as_bytes(), THEN + 1), 0, "{value}");
        }
    }

    /// What is written by one module is read by the other.
    #[test]
    fn days_are_those_of_the_responder() {
        for day in (0..2_900_000i64).step_by(997) {
            let (mut text, at) = ([0; 29], day * 86_400 + 45_296);
            let date = crate::responder::Date::from_unix(at).unwrap();
            assert_eq!(super::date(date.value(&mut text), at), Some(at));
        }
    }
}
