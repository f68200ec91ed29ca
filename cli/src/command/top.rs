//! `top`: the activity of a database that another process has open, from its metrics file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use continuant::Metrics;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::screen::Screen;
use crate::{files, moment, stop, vitals};

/// The longest file that can be one of metrics.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Watch a database that another process has open, by the file that its metrics are written to
///
/// Such a file is written by `run --metrics`, and by any program that writes the text of
/// `Metrics::prometheus` or `Metrics::open_metrics`. To watch a database in the process that runs
/// it, use `run --top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The file
    file: PathBuf,

    /// Watch this long [default: until interrupted]
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::parse_span)]
    span: Option<Duration>,

    /// The time between two reads of the file
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span, default_value = "1s")]
    every: Duration,
}

impl Top {
    pub(crate) fn run(self, printer: &mut Printer) -> Result<()> {
        let _orderly = stop::orderly();
        let (started, mut screen) = (Instant::now(), Screen::new());
        let (mut shown, mut before) = (Metrics::default(), Metrics::default());
        loop {
            let now = read(&self.file)?;
            if now.uptime != shown.uptime {
                before = std::mem::replace(&mut shown, now);
            }
            match printer.is_json() {
                true => {
                    printer.document(&json!({ "metrics": shown.json() }))?;
                    printer.flush()?;
                }
                false => {
                    let mut lines = vec![age(&self.file)?];
                    lines.extend(vitals::lines(&shown, &before));
                    screen.show(printer, &lines)?;
                }
            }
            let every = self.every.max(Duration::from_millis(1));
            let left = self.span.map(|span| span.saturating_sub(started.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            stop::pause(left.map_or(every, |left| left.min(every)), || false);
            if stop::asked().is_some() {
                return Ok(());
            }
        }
    }
}

fn read(path: &Path) -> Result<Metrics> {
    let text = files::text("reading", path, FILE_BYTES_MAX)?;
    let metrics = Metrics::from_open_metrics(&text);
    metrics.map_err(|error| Failure::new("metrics", format!("{}: {error}", path.display())))
}

/// Returns the age of the file: its writer may be gone.
fn age(path: &Path) -> Result<String> {
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let written = written.map_err(|error| Failure::file("reading", path, &error))?;
    let age = written.elapsed().unwrap_or_default().as_secs();
    Ok(format!("{}, written {age} s ago", path.display()))
}
