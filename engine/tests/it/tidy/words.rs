//! Riddles in comments: first words that make a sentence without a subject, and words that name
//! nothing.
//!
//! It reads source as text, and takes lines that begin with slashes for comments.

/// The first words that are banned in every comment.
const OPENINGS: &[&str] = &[
    "What", "Whatever", "Who", "Whoever", "Whose", "Whom", "Whether", "Which", "That", "Those",
    "Of", "How", "Why", "So many", "So much",
];
/// The first words that are banned in comments for documentation.
const DOC_OPENINGS: &[&str] = &["Where", "It", "Its", "They", "Their"];
/// The words that are banned in every comment.
const WORDS: &[&str] = &["whoever", "so many", "so much", "what is told", "is said", "was said"];

/// A run of comment lines of one kind.
struct Block<'t> {
    /// The number of the first line, from 1.
    line: usize,
    /// True for `///` and `//!`.
    is_doc: bool,
    lines: Vec<&'t str>,
}

/// Returns the banned openings and words in the comments of a source, each with its line.
pub(crate) fn riddles(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for block in blocks(text) {
        let docs = if block.is_doc { DOC_OPENINGS } else { &[] };
        let opens = |opening: &&&str| has_at(block.lines[0], opening, 0);
        if let Some(opening) = OPENINGS.iter().chain(docs).find(opens) {
            found.push((block.line, format!("begins with {opening:?}")));
        }
        let whole = prose(&block).join(" ").to_lowercase();
        for word in WORDS {
            if whole.match_indices(word).any(|(at, _)| has_at(&whole, word, at)) {
                found.push((block.line, format!("has {word:?}")));
            }
        }
    }
    found
}

/// Returns whether the words are at this place of a text, and are whole.
fn has_at(text: &str, words: &str, at: usize) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
    let before = text[..at].chars().next_back();
    let behind = text[at..].strip_prefix(words).map(|rest| rest.chars().next());
    behind.is_some_and(|next| !next.is_some_and(is_letter)) && !before.is_some_and(is_letter)
}

/// Returns the lines of a block outside of code.
fn prose<'t>(block: &Block<'t>) -> Vec<&'t str> {
    let mut is_code = false;
    let lines = block.lines.iter().copied().filter(|line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect()
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut last = None;
    for (index, line) in text.lines().enumerate() {
        let marks = ["///", "//!", "//"];
        let found = marks.into_iter().find_map(|mark| {
            let rest = line.trim_start().strip_prefix(mark)?;
            Some((mark, rest)).filter(|_| rest.is_empty() || rest.starts_with(' '))
        });
        let mark = found.map(|(mark, _)| mark);
        if let Some((mark, rest)) = found {
            if last != Some(mark) {
                let is_doc = mark != "//";
                blocks.push(Block { line: index + 1, is_doc, lines: Vec::new() });
            }
            blocks.last_mut().unwrap().lines.push(rest.trim());
        }
        last = mark;
    }
    blocks
}

#[test]
fn riddles_are_found_in_first_lines_and_banned_words_anywhere() {
    let find = |text: &str| {
        let found = riddles(text).into_iter().map(|(line, what)| format!("{line} {what}"));
        found.collect::<Vec<_>>().join(", ")
    };
    for (text, expected) in [
        ("/// What is known of a step.", "1 begins with \"What\""),
        ("fn f() {\n    // That it was asked.\n", "2 begins with \"That\""),
        ("/// So many\n/// bytes.", "1 begins with \"So many\", 1 has \"so many\""),
        ("//! A file.\n//!\n//! It is for whoever\n//! asks.", "1 has \"whoever\""),
        ("/// Bytes, so\n/// many of them.", "1 has \"so many\""),
        ("/// Its hash.\nhash: Hash,\n/// Its id.", "1 begins with \"Its\", 3 begins with \"Its\""),
        ("// Its hash.", ""),
        ("/// Returns what is known,\n/// that is all.", ""),
        ("/// Whatsoever, or Ofcom.", ""),
        ("//! A file.\n//!\n//! It does not know steps.", ""),
        ("/// Shows it.\n///\n/// ```\n/// // so many\n/// ```", ""),
        ("let what = \"What\"; //What", ""),
    ] {
        assert_eq!(find(text), expected, "{text}");
    }
}
