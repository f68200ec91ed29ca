//! One reading of the log, frame by frame, that continues behind broken frames.
//!
//! This module does not know the content of frames.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::log::frame::{Frame, damaged};
use crate::log::scan;
use crate::log::scan::{Next, Scan};
use crate::log::segment::Tail;
use crate::store::Inner;

/// Passes the frames of the log before `end` to `each` in order, and in place of an unreadable one
/// its error; until `each` returns to stop.
///
/// # Errors
///
/// Those of the file system that keep it from going on, and those of `each`.
pub(super) fn frames(
    inner: &Inner,
    end: Tail,
    mut each: impl FnMut(Result<Frame>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let segments = inner.log.segments();
    let mut scan = Scan::new(segments, scan::start(segments.seal()));
    while scan.tail().end < end.end {
        let found = match scan.next() {
            Ok(Next::Frame(frame)) => Ok(frame),
            // The last segment may have no frame yet, but old bytes in a file that is used again.
            Ok(Next::Nothing | Next::Broken(_)) if scan.tail().end == end.end => return Ok(()),
            Ok(Next::Broken(error)) | Err(error) => Err(error),
            Ok(Next::Nothing) => Err(damaged(scan.tail().end, "a frame", "none")),
        };
        let frame = match found {
            Ok(frame) => Some(frame),
            Err(error) => {
                if each(Err(error.clone()))?.is_break() {
                    return Ok(());
                }
                scan.resume_over(|unreadable| {
                    if unreadable.is_of_file_system() || unreadable.is_of_resources() {
                        return Err(unreadable);
                    }
                    // The scan may have met the cause of the first error.
                    match unreadable.is_same(&error) {
                        true => Ok(()),
                        false => each(Err(unreadable)).map(drop),
                    }
                })?
            }
        };
        let Some(frame) = frame.filter(|frame| frame.position < end.end) else { return Ok(()) };
        if each(Ok(frame))?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}
