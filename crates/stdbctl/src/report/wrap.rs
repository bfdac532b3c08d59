//! Text in lines that fit a terminal: broken between words, and nowhere in a command that is there to be copied.

use dialoguer::console::measure_text_width;

/// On a narrower terminal there is no room to hang anything.
const NARROWEST: usize = 40;
/// Where a line begins that would not fit under the others.
const LEFT: usize = 2;
/// Stands for a blank that is no place to break at. No text that is fit for a terminal has it.
const KEPT: &str = "\0";

/// The words behind a label, and under their own beginning where they take more than a line.
pub(crate) fn labelled(label: &str, words: &str, width: Option<usize>) -> String {
    let hang = measure_text_width(label) + 1;
    // Under a long label there would be too little room.
    let hang = if width.is_some_and(|width| hang > width / 4) { 4 } else { hang };
    hanging(&format!("{label} "), words, hang, width)
}

/// The words behind `before`, further lines so many columns from the left. Without a width it is one line.
pub(crate) fn hanging(before: &str, words: &str, hang: usize, width: Option<usize>) -> String {
    let Some(width) = width.filter(|&width| width >= NARROWEST) else {
        return format!("{}\n", format!("{before}{words}").trim_end());
    };
    let first = width.saturating_sub(measure_text_width(before));
    let others = width.saturating_sub(hang);
    let mut text = String::new();
    for (number, line) in wrapped(words, first, others).iter().enumerate() {
        let indent = if measure_text_width(line) > others { hang.min(LEFT) } else { hang };
        let before = if number == 0 { before } else { &" ".repeat(indent) };
        text.push_str(format!("{before}{line}").trim_end());
        text.push('\n');
    }
    text
}

/// The words in lines of at most so many columns, as far as words and commands allow. There is one line at least.
pub(crate) fn wrapped(words: &str, first: usize, others: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in with_whole_commands(words).split(' ').filter(|word| !word.is_empty()) {
        let room = if lines.len() == 1 { first } else { others };
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if columns(line) + 1 + columns(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter().map(|line| line.replace(KEPT, " ")).collect()
}

fn columns(text: &str) -> usize {
    measure_text_width(&text.replace(KEPT, " "))
}

/// The text with nowhere to break between two backticks.
fn with_whole_commands(text: &str) -> String {
    let parts: Vec<_> = text.split('`').collect();
    // One that is left alone begins nothing.
    let last = parts.len() - 1;
    let parts = parts.iter().enumerate().map(|(index, part)| match index {
        inside if inside % 2 == 1 && inside < last => part.replace(' ', KEPT),
        _ => (*part).to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_hang_under_the_first() {
        let words = "somebody may be in between, or the server was set up anew";
        assert_eq!(
            labelled("try:", words, Some(40)),
            "try: somebody may be in between, or the\n     server was set up anew\n"
        );
        assert_eq!(labelled("try:", words, None), format!("try: {words}\n"));
        assert_eq!(labelled("try:", words, Some(39)), format!("try: {words}\n"), "there is no room");
        assert_eq!(labelled("try:", "", Some(80)), "try:\n");
    }

    #[test]
    fn no_line_is_too_wide_whatever_the_width_and_nothing_is_lost() {
        let words =
            "the host key of web1 has changed: it is now another one, but line 12 has the one of before";
        for width in NARROWEST..=120 {
            let text = labelled("\x1b[31merror:\x1b[0m", words, Some(width));
            assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}\n{text}");
            let told: Vec<_> = text.split_whitespace().skip(1).collect();
            assert_eq!(told.join(" "), words);
        }
    }

    #[test]
    fn a_command_stays_whole_on_a_line_of_its_own() {
        let command = "`ssh-keygen -R '[web1.example.com]:2222' -f '/home/ada/known_hosts'`";
        let words = format!("if it was: {command}, then connect again");
        let text = labelled("try:", &words, Some(80));
        assert_eq!(text, format!("try: if it was:\n     {command}, then\n     connect again\n"));
        // Where it does not fit, it is the terminal that goes on: to somebody who copies it, it is one line.
        let text = labelled("try:", &words, Some(60));
        assert_eq!(text, format!("try: if it was:\n  {command},\n     then connect again\n"));
    }

    #[test]
    fn a_backtick_by_itself_begins_no_command() {
        let words = "it's `a b` and then ` one two three four five six seven";
        assert!(wrapped(words, 20, 20).iter().all(|line| line.len() <= 20), "{:?}", wrapped(words, 20, 20));
    }

    #[test]
    fn under_a_long_label_the_lines_begin_at_the_left() {
        let label = "ubuntu@a-host-of-a-long-name.example.com: failed:";
        let text = labelled(label, "cannot connect to it, and nobody knows why", Some(60));
        assert_eq!(text, format!("{label} cannot\n    connect to it, and nobody knows why\n"));
    }
}
