//! Long lines in the texts that tests expect.

/// Breaks a line where it would be longer than this text's own may be.
pub(crate) fn wrap(line: &str) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for (index, word) in line.split(' ').enumerate() {
        if column > 0 && column + word.len() > 80 {
            text += "\n   ";
            column = 3;
        }
        let blank = if index > 0 { " " } else { "" };
        text = text + blank + word;
        column += blank.len() + word.len();
    }
    text
}
