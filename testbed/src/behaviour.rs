//! How a backend answers: the faults of real upstreams, each with a name for the command line.
//!
//! The text form is the one of a query, `mode=slow&ms=200`: `tidegate-testbed backend` reads it as an option and on
//! its standard input.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::echo::query;

/// What a backend does with a request, once it has read it whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Behaviour {
    /// Answers rightly: 200 and an echo.
    #[default]
    Ok,
    /// Sends these bytes, whatever was asked.
    Raw(Vec<u8>, Then),
    /// Sends bytes that are no HTTP at all, then closes.
    Garbage,
    /// Sends a right head with Content-Length, half of the body, then FIN.
    BreakOff,
    /// Sends a chunked head, one right chunk and a broken one, then closes.
    BadChunk,
    /// Sends nothing for as long as the connection lives.
    Hang,
    /// Answers rightly, so much later.
    Slow(Duration),
    /// Sends the head and half of the body of a right answer, and the rest so much later.
    Pause(Duration),
    /// Answers with this status in `percent` of cases, else rightly. The echo is the body in both.
    Status {
        /// 200 to 599.
        code: u16,
        /// 0 to 100.
        percent: u8,
    },
    /// Answers rightly; in `percent` of cases closes the idle connection within `within` after the answer.
    CloseIdle {
        /// 0 to 100.
        percent: u8,
        /// Longest time from answer to close.
        within: Duration,
    },
    /// Answers rightly; in `percent` of cases resets the connection as the next request comes, which it does not read:
    /// what a close looks like that has crossed with a request.
    RaceIdle {
        /// 0 to 100.
        percent: u8,
    },
    /// Resets the connection instead of an answer.
    Reset,
    /// Does not listen; connections that were there are closed.
    Refuse,
    /// Sends the head of a right answer one byte at a time, this long apart.
    Trickle(Duration),
    /// Resets every connection as soon as it is accepted, and those that were there.
    ResetOnAccept,
    /// Connections that were there are closed, and the kernel drops whatever asks for a new one.
    DropSyns,
    /// The other behaviour in `percent` of cases, else a right answer. For what concerns a request, not a connection.
    Share {
        /// 0 to 100.
        percent: u8,
        /// What these do.
        of: Box<Behaviour>,
    },
}

/// What follows raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// FIN.
    Close,
    /// Nothing: the connection stays.
    KeepOpen,
    /// RST. What the peer had not read yet may be lost with it.
    Reset,
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Behaviour, String> {
        let text = format!("?{text}");
        let number = |name: &str| -> Result<u64, String> {
            let value = query(&text, name).ok_or_else(|| format!("{name}= is missing"))?;
            value.parse().map_err(|_| format!("{name}={value} is no number"))
        };
        let percent = || Ok::<_, String>(number("percent")?.min(100) as u8);
        let ms = || number("ms").map(Duration::from_millis);
        if let Some((share, rest)) = text.strip_prefix("?share=").and_then(|text| text.split_once('&')) {
            let percent = share.parse().map_err(|_| format!("share={share} is no percentage"))?;
            return Ok(Behaviour::Share { percent, of: Box::new(rest.parse()?) });
        }
        Ok(match query(&text, "mode").unwrap_or_default() {
            "ok" => Behaviour::Ok,
            "raw" => Behaviour::Raw(
                unescape(query(&text, "bytes").unwrap_or_default())?,
                match query(&text, "then") {
                    None | Some("close") => Then::Close,
                    Some("keep_open") => Then::KeepOpen,
                    Some("reset") => Then::Reset,
                    Some(other) => return Err(format!("then={other}: close, keep_open or reset")),
                },
            ),
            "garbage" => Behaviour::Garbage,
            "break_off" => Behaviour::BreakOff,
            "bad_chunk" => Behaviour::BadChunk,
            "hang" => Behaviour::Hang,
            "slow" => Behaviour::Slow(ms()?),
            "pause" => Behaviour::Pause(ms()?),
            "status" => match number("code")? {
                code @ 200..600 => Behaviour::Status { code: code as u16, percent: percent()? },
                code => return Err(format!("code={code}: 200 to 599")),
            },
            "close_idle" => Behaviour::CloseIdle { percent: percent()?, within: ms()? },
            "race_idle" => Behaviour::RaceIdle { percent: percent()? },
            "reset" => Behaviour::Reset,
            "refuse" => Behaviour::Refuse,
            "trickle" => Behaviour::Trickle(ms()?),
            "reset_on_accept" => Behaviour::ResetOnAccept,
            "drop_syns" => Behaviour::DropSyns,
            other => return Err(format!("mode={other}: {MODES}")),
        })
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Behaviour::Ok => f.write_str("mode=ok"),
            Behaviour::Raw(bytes, then) => {
                let then = match then {
                    Then::Close => "close",
                    Then::KeepOpen => "keep_open",
                    Then::Reset => "reset",
                };
                write!(f, "mode=raw&then={then}&bytes=")?;
                bytes.iter().try_for_each(|b| write!(f, "%{b:02x}"))
            }
            Behaviour::Garbage => f.write_str("mode=garbage"),
            Behaviour::BreakOff => f.write_str("mode=break_off"),
            Behaviour::BadChunk => f.write_str("mode=bad_chunk"),
            Behaviour::Hang => f.write_str("mode=hang"),
            Behaviour::Slow(time) => write!(f, "mode=slow&ms={}", time.as_millis()),
            Behaviour::Pause(time) => write!(f, "mode=pause&ms={}", time.as_millis()),
            Behaviour::Status { code, percent } => write!(f, "mode=status&code={code}&percent={percent}"),
            Behaviour::CloseIdle { percent, within } => {
                write!(f, "mode=close_idle&percent={percent}&ms={}", within.as_millis())
            }
            Behaviour::RaceIdle { percent } => write!(f, "mode=race_idle&percent={percent}"),
            Behaviour::Reset => f.write_str("mode=reset"),
            Behaviour::Refuse => f.write_str("mode=refuse"),
            Behaviour::Trickle(gap) => write!(f, "mode=trickle&ms={}", gap.as_millis()),
            Behaviour::ResetOnAccept => f.write_str("mode=reset_on_accept"),
            Behaviour::DropSyns => f.write_str("mode=drop_syns"),
            Behaviour::Share { percent, of } => write!(f, "share={percent}&{of}"),
        }
    }
}

/// Percent-decodes; every other character stands for itself.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        out.push(hex.and_then(|h| u8::from_str_radix(h, 16).ok()).ok_or("bytes=: % without two hex digits")?);
        rest = &tail[2..];
    }
    Ok(out)
}

/// For error messages and the command line's help.
pub const MODES: &str = "ok | raw&bytes=%xx…[&then=close|keep_open|reset] | garbage | break_off | bad_chunk | hang | \
                         slow&ms=N | pause&ms=N | status&code=N&percent=N | close_idle&percent=N&ms=N | \
                         race_idle&percent=N | reset | refuse | trickle&ms=N | reset_on_accept | drop_syns; \
                         share=N& before it: in N % of cases";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_both_ways() {
        for behaviour in [
            Behaviour::Ok,
            Behaviour::Raw(b"HTTP/1.1 200 OK\r\n\r\n&=%\0\xff".to_vec(), Then::KeepOpen),
            Behaviour::Raw(Vec::new(), Then::Reset),
            Behaviour::Garbage,
            Behaviour::BreakOff,
            Behaviour::BadChunk,
            Behaviour::Hang,
            Behaviour::Slow(Duration::from_millis(30)),
            Behaviour::Pause(Duration::from_millis(30)),
            Behaviour::Status { code: 503, percent: 20 },
            Behaviour::CloseIdle { percent: 50, within: Duration::from_millis(9) },
            Behaviour::RaceIdle { percent: 20 },
            Behaviour::Reset,
            Behaviour::Refuse,
            Behaviour::Trickle(Duration::from_millis(50)),
            Behaviour::ResetOnAccept,
            Behaviour::DropSyns,
            Behaviour::Share { percent: 50, of: Box::new(Behaviour::BreakOff) },
        ] {
            assert_eq!(behaviour.to_string().parse(), Ok(behaviour));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "mode=", "mode=dance", "mode=slow", "mode=slow&ms=x", "mode=status&code=99&percent=1"] {
            assert!(text.parse::<Behaviour>().is_err(), "{text}");
        }
        assert!("mode=raw&bytes=%4".parse::<Behaviour>().is_err());
    }
}
