//! The path of one request: pick, outcome, decision, answer.
//!
//! It owns the rules of DESIGN's failover: what may be repeated, on which peer, how often, after which wait, and what
//! the client is told in the end. It does no I/O and reads no clock: the host reports what it saw and is told what to
//! do. A [`Request`] lives in the host's memory, so nothing is allocated.
//!
//! | file | concept |
//! |---|---|
//! | `worker` | a process's or thread's place in the table |
//! | `request` | one request and its attempts |
//! | `outcome` | what the host saw, and causes from errno |
//! | `decide` | retry, deliver, answer or abort |
//! | `hold` | how long to keep a response before its first byte goes out |
//! | `budget` | how many retries an upstream bears |
//! | `patience` | how long to wait for a peer before another is asked |
//! | `retry_after` | how long a peer asks for a pause |
//! | `admission` | who gets a place, who waits, who is turned away |
//! | `concurrency` | the limit that follows the latency |
//! | `backoff` | how long to wait before one |
//! | `race` | when a request must not go on an idle connection |
//! | `answer` | status, cause and Retry-After of a generated response |
//! | `exclusion` | who could not be picked, and why |
//! | `shadow` | a second policy beside the live one |
//! | `record` | the decision record, and the same for people |

mod admission;
mod answer;
mod backoff;
mod budget;
mod concurrency;
mod decide;
mod exclusion;
mod hold;
mod outcome;
mod patience;
mod race;
mod record;
mod request;
mod retry_after;
mod shadow;
mod worker;

pub use admission::Waits;
pub use answer::Told;
#[cfg(all(loom, test))]
pub(crate) use budget::take as take_token;
pub use decide::{Decision, Verdict, Why};
pub use exclusion::{Standing, Standings};
pub use hold::{Body, BodyEnd, Hold};
pub use outcome::{Outcome, Phase, cause_from_errno};
pub use patience::Times;
pub use record::{Attempt, Chosen, Record};
pub use request::{Picked, Request};
pub use retry_after::retry_after_s;
pub use worker::Worker;
