//! The body by which a backend tells what it got, and a client checks that nothing was lost, mixed up or added.
//!
//! A few lines of `name=value`, then padding. All of it follows from the request and the backend's name, so a client
//! compares every byte.

/// What a backend got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Echo<'a> {
    /// The request's method.
    pub method: &'a str,
    /// Its target, query and all.
    pub path: &'a str,
    /// Its X-Request-Id; may be empty.
    pub id: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

impl Echo<'_> {
    /// The body of the answer. `pad=N` in the query appends N bytes, so that clients choose how long answers are.
    pub fn body(&self, backend: &str) -> Vec<u8> {
        let pad = query(self.path, "pad").and_then(|n| n.parse().ok()).unwrap_or(0).min(MAX_PAD);
        let mut text = format!(
            "backend={backend}\nmethod={}\npath={}\nid={}\nlength={}\nsum={:016x}\n",
            self.method,
            self.path,
            self.id,
            self.body.len(),
            checksum(self.body),
        )
        .into_bytes();
        text.extend((0..pad).map(|i| PADDING[i % PADDING.len()]));
        text
    }

    /// Whether the answer asked for is chunked (`framing=chunked` in the query).
    pub fn wants_chunks(&self) -> bool {
        query(self.path, "framing") == Some("chunked")
    }

    /// Whether `answer` is exactly what the backend of this name should have sent.
    pub fn matches(&self, backend: &str, answer: &[u8]) -> bool {
        self.body(backend) == answer
    }
}

/// A parameter of a target's query.
pub fn query<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let pairs = path.split_once('?')?.1.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
}

/// FNV-1a, 64 bits: enough against accidents, and nobody attacks a test.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// A length that is no power of two, so that a body shifted by a buffer's size differs.
const PADDING: &[u8] = b"the tide turns and the gate shuts by itself\n";
const MAX_PAD: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_noticed_in_head_and_padding() {
        let echo = Echo { method: "POST", path: "/a?pad=100", id: "7", body: b"xyz" };
        let right = echo.body("b1");
        assert!(echo.matches("b1", &right));
        assert!(!echo.matches("b2", &right));
        for i in 0..right.len() {
            let mut wrong = right.clone();
            wrong[i] ^= 1;
            assert!(!echo.matches("b1", &wrong), "byte {i}");
        }
        assert!(!echo.matches("b1", &right[..right.len() - 1]));
    }
}
