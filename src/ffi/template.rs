//! `tidegate_template*`: operators' templates, compiled once and used by any number of answers.

use super::responder::{TIDEGATE_ANSWER_MAX, TIDEGATE_FORMAT_HTML, TIDEGATE_FORMAT_JSON, TIDEGATE_FORMAT_TEXT};
use super::{Error, TIDEGATE_ERR_NULL, bytes, guard, guard_value, tidegate_status};
use crate::responder::{Answer, Format, TEMPLATE_MAX, Template};
use std::ffi::c_char;

/// A body of the operator's, compiled. It never changes, belongs to no table, and may be used after fork().
pub struct tidegate_template {
    _private: (),
}

/// The text of a template is at most this long.
pub const TIDEGATE_TEMPLATE_MAX: usize = 65536;
const _: () = assert!(TIDEGATE_TEMPLATE_MAX == TEMPLATE_MAX);

/// Compiles the text of a template: UTF-8, at most TIDEGATE_TEMPLATE_MAX bytes. `format` is TIDEGATE_FORMAT_HTML, _JSON
/// or _TEXT; the template is then to be set in that member of `tidegate_answer`.
///
/// `{{status}}` stands for a value. `{{#upstream}}…{{/upstream}}` appears only if that value is set; sections may be
/// nested. The values: status, reason ("Bad Gateway"), cause ("connection_refused"), title ("Connection refused"),
/// message (the sentence for people), advice (when to try again), request_id, upstream, gateway (the label), retry_after
/// (seconds), received_status, date. Unset ones are empty; numbers (status, retry_after, received_status) are then 0.
///
/// Every value is escaped for the place where it stands. HTML: text and quoted attributes; in href, src, action and cite
/// percent-encoded. JSON: inside a string; numbers also outside. Text: control characters become U+FFFD. A raw form does
/// not exist.
///
/// Refused are names that are not known, braces left open, sections that are not closed; in HTML values in scripts,
/// styles, comments, tags, unquoted attributes and attributes that hold code, and text that ends inside a tag; in JSON
/// whatever would be no JSON with any of its sections present or absent; bodies that could exceed twice
/// TIDEGATE_TEMPLATE_MAX. `tidegate_last_error` begins with the place: "line 3, column 17: …".
///
/// Thread rule: any-thread. Errors: NULL, INVALID. Cost: allocates; for set-up, never on the path of a request. Free it
/// with `tidegate_template_free`.
///
/// # Safety
/// `text` points to `len` readable bytes; `compiled` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_template_new(
    format: u32,
    text: *const c_char,
    len: usize,
    compiled: *mut *mut tidegate_template,
) -> tidegate_status {
    guard(|| {
        if compiled.is_null() {
            return Err(Error::of(TIDEGATE_ERR_NULL));
        }
        // SAFETY: the caller vouches for the pair.
        let text = unsafe { bytes(text, len) }?;
        let format = match format {
            TIDEGATE_FORMAT_HTML => Format::Html,
            TIDEGATE_FORMAT_JSON => Format::Json,
            TIDEGATE_FORMAT_TEXT => Format::Text,
            other => return Err(Error::invalid(format!("format is {other}: templates are for HTML, JSON and text"))),
        };
        let made = Template::new(format, text).map_err(Error::invalid)?;
        // SAFETY: not NULL, and the caller vouches for it.
        unsafe { compiled.write(Box::into_raw(Box::new(made)).cast()) };
        Ok(())
    })
}

/// Frees a template that no answer refers to any more. NULL is a no-op.
///
/// Thread rule: set-up only.
///
/// # Safety
/// `compiled` is NULL or came from `tidegate_template_new` and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_template_free(compiled: *mut tidegate_template) {
    guard(|| {
        if !compiled.is_null() {
            // SAFETY: it came from `tidegate_template_new`, and the caller uses it no more.
            drop(unsafe { Box::from_raw(compiled.cast::<Template>()) });
        }
        Ok(())
    });
}

/// A buffer of this many bytes holds every answer with this template, and every one without: at least
/// TIDEGATE_ANSWER_MAX, which is also the answer for NULL.
///
/// Thread rule: any-thread. Cost: none.
///
/// # Safety
/// `compiled` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidegate_template_answer_max(compiled: *const tidegate_template) -> usize {
    guard_value(TIDEGATE_ANSWER_MAX, || {
        // SAFETY: the caller's promise is the same.
        unsafe { of(compiled) }.map_or(TIDEGATE_ANSWER_MAX, Answer::most_with)
    })
}

/// # Safety
/// `template` is NULL or came from `tidegate_template_new` and lives for `'a`.
#[inline(always)]
pub(super) unsafe fn of<'a>(template: *const tidegate_template) -> Option<&'a Template> {
    // SAFETY: the caller's promise is the same, and a `Template` is what was made there.
    unsafe { template.cast::<Template>().as_ref() }
}

#[cfg(test)]
mod tests {
    use super::super::{TIDEGATE_ERR_BUFFER, TIDEGATE_ERR_INVALID, TIDEGATE_OK, tidegate_last_error};
    use super::*;
    use crate::ffi::responder::{
        tidegate_answer, tidegate_answer_parts, tidegate_answer_write, tidegate_answer_write_parts,
    };

    fn new(format: u32, text: &str) -> (tidegate_status, *mut tidegate_template) {
        let mut template = std::ptr::null_mut();
        // SAFETY: all of it is live.
        let status = unsafe { tidegate_template_new(format, text.as_ptr().cast(), text.len(), &mut template) };
        (status, template)
    }

    #[test]
    fn errors_name_the_place() {
        let (status, template) = new(TIDEGATE_FORMAT_HTML, "<p>\n{{statsu}}");
        assert_eq!((status, template), (TIDEGATE_ERR_INVALID, std::ptr::null_mut()));
        let (mut buf, mut len) = ([0u8; 240], 0);
        // SAFETY: all of it is live.
        assert_eq!(unsafe { tidegate_last_error(buf.as_mut_ptr().cast(), 240, &mut len) }, TIDEGATE_OK);
        assert!(buf[..len].starts_with(b"line 2, column 1: there is no value \"statsu\""));
        assert_eq!(new(0, "x").0, TIDEGATE_ERR_INVALID);
        // SAFETY: NULL is allowed for both.
        unsafe {
            assert_eq!(tidegate_template_answer_max(std::ptr::null()), TIDEGATE_ANSWER_MAX);
            tidegate_template_free(std::ptr::null_mut());
        }
    }

    #[test]
    fn a_templateis_the_body_of_its_format_and_of_no_other() {
        let long = format!("<p>{{{{status}}}} {{{{request_id}}}}</p>{}", "x".repeat(20_000));
        let (status, template) = new(TIDEGATE_FORMAT_HTML, &long);
        assert_eq!(status, TIDEGATE_OK);
        // SAFETY: the types are valid when all zero.
        let (mut answer, mut parts) =
            unsafe { (std::mem::zeroed::<tidegate_answer>(), std::mem::zeroed::<tidegate_answer_parts>()) };
        answer.struct_size = size_of::<tidegate_answer>();
        parts.struct_size = size_of::<tidegate_answer_parts>();
        answer.status = 503;
        answer.html_template = template;
        (answer.request_id, answer.request_id_len) = (c"a<b".as_ptr(), 3);
        // SAFETY: `template` is live.
        let mut buf = vec![0u8; unsafe { tidegate_template_answer_max(template) }];
        let want = format!("<p>503 a&lt;b</p>{}", "x".repeat(20_000));
        let mut len = 0;
        // SAFETY: all of it is live.
        unsafe {
            answer.format = TIDEGATE_FORMAT_HTML;
            assert_eq!(tidegate_answer_write(&answer, buf.as_mut_ptr().cast(), 8192, &mut len), TIDEGATE_ERR_BUFFER);
            let exact = len;
            assert_eq!(tidegate_answer_write(&answer, buf.as_mut_ptr().cast(), exact, &mut len), TIDEGATE_OK);
            let text = std::str::from_utf8(&buf[..len]).unwrap();
            assert!(text.contains(&format!("\r\nContent-Length: {}\r\n\r\n<p>503", want.len())), "{}", &text[..300]);
            assert!(text.ends_with(&want));
            let cap = buf.len();
            assert_eq!(tidegate_answer_write_parts(&answer, buf.as_mut_ptr().cast(), cap, &mut parts), TIDEGATE_OK);
            assert_eq!(bytes(parts.body, parts.body_len).unwrap(), want.as_bytes());
            answer.format = TIDEGATE_FORMAT_JSON;
            assert_eq!(tidegate_answer_write(&answer, buf.as_mut_ptr().cast(), 8192, &mut len), TIDEGATE_OK);
            tidegate_template_free(template);
        }
    }
}
