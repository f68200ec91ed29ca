//! `dead-letters`: messages between objects that could not be delivered, and what to do with them.

use clap::{Args, Subcommand};
use continuant::{Database, DeadLetter};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::{Align, Table};
use crate::target::{Target, short};
use crate::{aside, receipt};

/// Digits of a version's hash that a letter is shown by.
const DIGITS: usize = 16;
/// The fewest of them that a letter is named by.
const DIGITS_MIN: usize = 4;

/// The number of letters that are named where the durable work cannot be printed.
const DONE_MAX: usize = 16;

/// List the messages between objects that could not be delivered, and why; retry or drop them
///
/// A letter is kept until it is retried or dropped. A retry sends the same message to the same
/// object again: useful once that object exists, or its policy permits the message.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    end: Option<End>,
}

/// The action on letters.
#[derive(Debug, Subcommand)]
enum End {
    /// Send letters on their way again, and print the outcome
    Retry(Which),
    /// Drop letters for good, on record: their content is gone
    Drop(Which),
}

/// The selected letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Letters, as they are listed
    #[arg(value_name = "LETTER")]
    letters: Vec<String>,

    /// All dead letters
    #[arg(long)]
    all: bool,
}

impl DeadLetters {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let Some(end) = &self.end else { return target.reading(|db| list(db, printer)) };
        target.with(|db| match end {
            End::Retry(which) => retry(db, &which.find(db)?, printer),
            End::Drop(which) => {
                let letters = which.find(db)?;
                for (index, letter) in letters.iter().enumerate() {
                    db.drop_dead_letter(letter.id)?;
                    done(printer, &letters[..=index], letters.len(), "dropped");
                    became(printer, letter, "dropped", None)?;
                }
                Ok(())
            }
        })
    }
}

fn list(db: &Database, printer: &mut Printer) -> Result<()> {
    let mut letters = db.dead_letters().peekable();
    if letters.peek().is_none() {
        aside::note(printer, "no-letters", "there are no dead letters");
        return Ok(());
    }
    if printer.is_json() {
        return letters.try_for_each(|letter| printer.document(&document(&letter?)));
    }
    let mut table = Table::new([
        ("letter", Align::Left),
        ("from", Align::Left),
        ("version", Align::Right),
        ("to", Align::Left),
        ("method", Align::Left),
        ("why", Align::Left),
    ]);
    for letter in letters {
        table.row(printer, cells(letter?))?;
    }
    table.end(printer)
}

/// Sends letters on their way, and prints the outcome of each; fails when some came back.
fn retry(db: &Database, letters: &[DeadLetter], printer: &mut Printer) -> Result<()> {
    for letter in letters {
        db.retry_dead_letter(letter.id)?;
    }
    db.deliver()?;
    done(printer, letters, letters.len(), "sent on their way again");
    let mut back = 0;
    for letter in letters {
        match db.dead_letter(letter.id)? {
            Some(dead) => {
                back += 1;
                became(printer, letter, "dead", Some(&dead.why))?;
            }
            None if db.is_on_its_way(letter.id) => became(printer, letter, "on its way", None)?,
            None => became(printer, letter, "delivered", None)?,
        }
    }
    match back {
        0 => Ok(()),
        back => {
            let count = letters.len();
            Err(Failure::refused(format!("{back} of {count} letters could not be delivered again")))
        }
    }
}

/// Keeps the action on letters, in case it cannot be printed.
fn done(printer: &mut Printer, letters: &[DeadLetter], of: usize, what: &str) {
    let tokens: Vec<Json> = letters.iter().take(DONE_MAX).map(|it| it.token().into()).collect();
    let names: Vec<String> = letters.iter().take(DONE_MAX).map(name).collect();
    let more = if letters.len() > DONE_MAX { " and others" } else { "" };
    let (names, count) = (names.join(", "), letters.len());
    let document = json!({ "outcome": what, "count": count, "letters": tokens });
    printer.done(format!("{count} of {of} letters are {what}, {names}{more}"), document);
}

/// Prints the outcome of a letter.
fn became(
    printer: &mut Printer,
    letter: &DeadLetter,
    outcome: &str,
    why: Option<&str>,
) -> Result<()> {
    if printer.is_json() {
        let (token, to) = (letter.token(), letter.id.to.to_string());
        let became = json!({ "letter": token, "to": to, "outcome": outcome, "why": why });
        return printer.document(&became);
    }
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    printer.line(&format!("{}: {outcome}{why}", name(letter)))
}

impl Which {
    /// The letters, each once, in the order in which they are listed.
    fn find(&self, db: &Database) -> Result<Vec<DeadLetter>> {
        let mut found = Vec::new();
        let mut fitting = vec![0_u64; self.letters.len()];
        for letter in db.dead_letters() {
            let letter = letter?;
            let token = letter.token();
            let mut is_meant = self.all;
            for (text, count) in self.letters.iter().zip(&mut fitting) {
                if stands_for(text, &token) {
                    *count += 1;
                    is_meant = true;
                }
            }
            found.extend(is_meant.then_some(letter));
        }
        for (text, count) in self.letters.iter().zip(fitting) {
            match count {
                1 => {}
                0 => return Err(missing(&format!("there is no dead letter {text:?}"))),
                _ => {
                    return Err(Failure::usage(format!("{text:?} fits {count}: give more digits")));
                }
            }
        }
        match found.is_empty() {
            true => Err(missing("there is no dead letter")),
            false => Ok(found),
        }
    }
}

fn missing(what: &str) -> Failure {
    Failure::missing("no-letter", format!("{what}: `continuant dead-letters` lists them"))
}

/// Returns whether a text is a letter's token, or one with fewer digits of the version's hash.
fn stands_for(text: &str, token: &str) -> bool {
    let (Some((digits, place)), Some((hash, index))) =
        (text.rsplit_once('-'), token.rsplit_once('-'))
    else {
        return false;
    };
    let begins = hash.starts_with(&digits.to_ascii_lowercase());
    digits.len() >= DIGITS_MIN && begins && place == index
}

/// Returns a letter's token, with fewer digits.
fn name(letter: &DeadLetter) -> String {
    format!("{}-{}", &letter.version.to_string()[..DIGITS], letter.index)
}

fn cells(letter: DeadLetter) -> [String; 6] {
    [
        name(&letter),
        short(&letter.sender),
        letter.seq.to_string(),
        short(&letter.id.to),
        letter.message.map_or("-".to_string(), |message| message.method),
        letter.why,
    ]
}

fn document(letter: &DeadLetter) -> Json {
    json!({
        "letter": letter.token(),
        "from": letter.sender.to_string(),
        "seq": letter.seq,
        "index": letter.index,
        "to": letter.id.to.to_string(),
        "message": letter.message.as_ref().map(receipt::message),
        "why": letter.why,
    })
}
