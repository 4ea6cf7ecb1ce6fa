//! The head: status line, fields, and the length of a body that is written after it.
//!
//! It owns the order of the fields and their fixed text, in blocks that begin with the end of the line before them.
//! Reference: RFC 9112 section 4, RFC 9110 sections 6.6.1, 8.3, 8.6, 10.2.3 and 12.5.5, RFC 9111 section 5.2.

use super::block::Block;
use super::kinds::{Connection, Format, Status};
use super::writer::{Writer, digits};
use super::{Answer, body, grpc, proxy_status};

impl Answer<'_> {
    /// The whole response. `USUAL`: `format` is JSON, and its body is to be inlined.
    #[inline(always)]
    pub(super) fn compose<const USUAL: bool>(&self, w: &mut Writer<'_>, format: Format) {
        if !USUAL && format == Format::Grpc {
            return w.lend(|w| self.compose_grpc(w));
        }
        self.fields(w, &LINES[self.status as usize], format);

        // The length is known once the body is written. The gap left for it nearly always has the right number of
        // digits; where it has not, the rest moves.
        w.put_block(if format.usual_digits() == 3 { &LENGTH_OF_3 } else { &LENGTH_OF_4 });
        let mut start = w.len();
        if USUAL {
            body::json(w, self);
        } else {
            w.lend(|w| body::write(w, self, format));
        }
        let length = (w.len() - start) as u32;
        if format.usual_digits() == 3 && (100..1000).contains(&length) {
            w.patch_three_digits::<{ 3 + HEAD_END.len() }>(start, length);
        } else if !USUAL && format.usual_digits() == 4 && (1000..10_000).contains(&length) {
            w.patch_digits::<4>(start - HEAD_END.len() - 4, length);
        } else {
            start = w.lend(|w| fill_in(w, start - HEAD_END.len() - format.usual_digits(), start, length));
        }
        if self.head {
            w.truncate(start);
        }
    }

    #[inline(never)]
    fn compose_grpc(&self, w: &mut Writer<'_>) {
        self.fields(w, &LINE_OK, Format::Grpc);
        grpc::write(w, self);
        w.put_block(&LENGTH_NONE);
    }

    /// The whole head before a body of `length` bytes.
    pub(super) fn head_of(&self, w: &mut Writer<'_>, format: Format, length: usize) {
        self.fields(w, &LINES[self.status as usize], format);
        w.put(b"\r\nContent-Length: ");
        w.put_number(u32::try_from(length).unwrap_or(u32::MAX));
        w.put(HEAD_END.as_bytes());
    }

    /// The status line and all fields but those that speak of the body's length.
    #[inline(always)]
    fn fields(&self, w: &mut Writer<'_>, line: &Block<40>, format: Format) {
        w.put_block(line);
        if let Some(date) = self.date {
            w.put_block(&date.line());
        }
        let [without, with] = &FIELDS[format as usize][usize::from(self.format.is_none())];
        if self.proxy_status {
            w.put_block(with);
            proxy_status::write(w, self);
        } else {
            w.put_block(without);
        }
        if self.retry_after_s > 0 {
            w.put_block(&RETRY_AFTER);
            w.put_number(self.retry_after_s);
        }
        match self.connection {
            Connection::Unsaid => {}
            Connection::Close => w.put_block(&CLOSE),
            Connection::KeepAlive => w.put_block(&KEEP_ALIVE),
        }
    }
}

/// Writes the length of the body, which begins at `start`, into its gap, and answers where the body begins then.
#[inline(never)]
fn fill_in(w: &mut Writer<'_>, gap: usize, start: usize, length: u32) -> usize {
    let right = gap + digits(length) + HEAD_END.len();
    if right != start {
        w.shift(start - HEAD_END.len(), right - HEAD_END.len());
    }
    w.patch_number(gap, length);
    right
}

/// By status.
static LINES: [Block<40>; Status::ALL.len()] = {
    let mut all = [Block::EMPTY; Status::ALL.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = Block::new(&["HTTP/1.1 ", Status::ALL[i].code(), " ", Status::ALL[i].reason()]);
        i += 1;
    }
    all
};

/// By format, by whether it was negotiated, and by whether a Proxy-Status follows.
static FIELDS: [[[Block<96>; 2]; 2]; Format::ALL.len()] = {
    let mut all = [[[Block::EMPTY; 2]; 2]; Format::ALL.len()];
    let mut i = 0;
    while i < 4 * all.len() {
        let (format, negotiated, proxy_status) = (i / 4, i / 2 % 2, i % 2);
        all[format][negotiated][proxy_status] = Block::new(&[
            "\r\nContent-Type: ",
            Format::ALL[format].content_type(),
            "\r\nCache-Control: no-store",
            if negotiated == 1 { "\r\nVary: Accept" } else { "" },
            if proxy_status == 1 { "\r\nProxy-Status: " } else { "" },
        ]);
        i += 1;
    }
    all
};

static RETRY_AFTER: Block<16> = Block::new(&["\r\nRetry-After: "]);
static CLOSE: Block<24> = Block::new(&["\r\nConnection: close"]);
static KEEP_ALIVE: Block<24> = Block::new(&["\r\nConnection: keep-alive"]);
static LENGTH_OF_3: Block<32> = Block::new(&["\r\nContent-Length: 000", HEAD_END]);
static LENGTH_OF_4: Block<32> = Block::new(&["\r\nContent-Length: 0000", HEAD_END]);

const HEAD_END: &str = "\r\n\r\n";
static LINE_OK: Block<40> = Block::new(&["HTTP/1.1 200 OK"]);
static LENGTH_NONE: Block<32> = Block::new(&["\r\nContent-Length: 0", HEAD_END]);
