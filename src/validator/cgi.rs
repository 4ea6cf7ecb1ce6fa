//! Heads of FastCGI, SCGI and uwsgi: fields without a status line, and the status that follows from them.
//!
//! Bytes are read by the same machine as HTTP/1 heads; here is only what differs. A script may name its status, once,
//! in `Status`; without one the response is 302 if it has a Location and 200 if it has not. Something of `Status`,
//! `Location` and `Content-Type` must be there: a page that fails before its first header seldom has any. A status line
//! is taken too, since uwsgi and SCGI servers send one. Constant cost. Source: RFC 3875, section 6.

use super::bytes::is_ows;
use super::value::{AFTER, BEFORE, Field, INSIDE};
use super::{Reason, State, Validator, bits, tolerance};

impl Validator<'_> {
    /// What the field's mere presence says; `field` and its name were read.
    pub(super) fn cgi_field(&mut self) -> Result<(), Reason> {
        let seen = match self.field {
            Field::ContentType => bits::CONTENT_TYPE,
            Field::Location => bits::LOCATION,
            Field::Status if self.code != 0 => return Err(Reason::CGI_FIELD_REPEATED),
            Field::Status => {
                self.digits = 0;
                0
            }
            // The connection to the client is no business of a script's, and its body is not chunked.
            Field::TransferEncoding => return Err(Reason::CONNECTION_FIELD),
            Field::Connection | Field::HopByHop | Field::Upgrade => {
                self.bits |= bits::NORMALISE;
                self.field = Field::Other;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if self.has(seen) {
            return Err(Reason::CGI_FIELD_REPEATED);
        }
        self.bits |= seen | bits::CGI;
        Ok(())
    }

    /// `Status: 200 OK`.
    pub(super) fn cgi_status_byte(&mut self, b: u8) -> Result<(), Reason> {
        match (self.value_state, b) {
            (AFTER, _) => {}
            (BEFORE, _) if is_ows(b) => {}
            (_, _) if is_ows(b) && self.digits == 3 => self.value_state = AFTER,
            (_, b'0'..=b'9') if self.digits < 3 => {
                match (self.digits, b) {
                    (0, b'0') => return Err(Reason::STATUS_OUT_OF_RANGE),
                    (0, b'6'..=b'9') => self.tolerate(tolerance::STATUS_RANGE, Reason::STATUS_OUT_OF_RANGE)?,
                    _ => {}
                }
                self.value_state = INSIDE;
                self.digits += 1;
                self.code = self.code * 10 + u16::from(b - b'0');
            }
            _ => return Err(Reason::STATUS_MALFORMED),
        }
        Ok(())
    }

    pub(super) fn cgi_status_end(&mut self) -> Result<(), Reason> {
        match self.code {
            _ if self.digits != 3 => Err(Reason::STATUS_MALFORMED),
            // Interim responses are the server's to send.
            100..=199 => Err(Reason::STATUS_OUT_OF_RANGE),
            _ => Ok(()),
        }
    }

    /// `HTTP/` was read where the first field was expected: a status line.
    pub(super) fn cgi_status_line(&mut self) {
        self.state = State::Protocol;
        self.value_state = b"HTTP/".len() as u8;
        self.fields = 0;
        self.bits |= bits::CGI;
    }

    /// The head ended.
    pub(super) fn cgi_status(&mut self) -> Result<(), Reason> {
        if !self.has(bits::CGI) {
            self.tolerate(tolerance::REST, Reason::CGI_FIELD_MISSING)?;
        }
        if self.code == 0 {
            self.code = if self.has(bits::LOCATION) { 302 } else { 200 };
        }
        Ok(())
    }
}
