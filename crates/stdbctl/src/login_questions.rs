//! What logging in to hosts asks of whoever sits at the terminal: passphrases, passwords, and what servers want to know.

use std::path::PathBuf;
use std::sync::Arc;

use dialoguer::console::measure_text_width;
use stdbctl_ssh::{AskPerson, Keyring, Question};

use crate::console::Console;
use crate::prompt;

/// What a server says is broken into lines of this width, each with the server's name before it: what it says must
/// not look like a question of ours in a line of its own.
const WIDTH: usize = 50;

/// What all connections of a run log in with.
pub(crate) fn keyring(console: &Console) -> Keyring {
    let screen = console.screen.clone();
    let ask: AskPerson = Arc::new(move |question| {
        let screen = screen.clone();
        Box::pin(async move {
            let text = words(&question);
            match question {
                Question::Server { hidden: false, .. } => prompt::line(screen, text).await,
                _ => prompt::secret(screen, text).await,
            }
        })
    });
    Keyring::new(console.can_ask().then_some(ask), last_keys())
}

/// Where it is on record which key a host took the last time.
fn last_keys() -> Option<PathBuf> {
    let variable = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("stdbctl").join("last-keys"))
}

fn words(question: &Question) -> String {
    match question {
        Question::Passphrase { file, again } => {
            let wrong = if *again { "That is not its passphrase. " } else { "" };
            format!("{wrong}Passphrase of the key {}: ", file.display())
        }
        Question::Password { user, host } => format!("Password of {user} on {host}: "),
        Question::Server { user, host, said, prompt, .. } => {
            let mut said: Vec<_> = said.iter().flat_map(|line| broken(line)).collect();
            let mut prompt = broken(prompt);
            let asked = prompt.pop().unwrap_or_default();
            said.append(&mut prompt);
            let says = said.iter().map(|line| format!("{host} says: {line}\n")).collect::<Vec<_>>().concat();
            format!("{says}{host} asks {user}: {asked} ")
        }
        // A question of a newer library.
        other => format!("{other:?}: "),
    }
}

/// The text in lines of a bounded width.
fn broken(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for character in text.chars() {
        let more = measure_text_width(character.encode_utf8(&mut [0; 4]));
        if width + more > WIDTH {
            lines.push(String::new());
            width = 0;
        }
        width += more;
        if let Some(line) = lines.last_mut() {
            line.push(character);
        }
    }
    lines.iter().map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(said: &[&str], prompt: &str) -> String {
        words(&Question::Server {
            user: "ada".to_owned(),
            host: "web1".to_owned(),
            said: said.iter().map(ToString::to_string).collect(),
            prompt: prompt.to_owned(),
            hidden: true,
        })
    }

    #[test]
    fn our_own_questions_name_what_they_want() {
        let file = PathBuf::from("/home/ada/.ssh/id_ed25519");
        let question = Question::Passphrase { file: file.clone(), again: false };
        assert_eq!(words(&question), "Passphrase of the key /home/ada/.ssh/id_ed25519: ");
        let question = Question::Passphrase { file, again: true };
        assert!(words(&question).starts_with("That is not its passphrase. Passphrase of the key /home"));
        let question = Question::Password { user: "ada".to_owned(), host: "web1".to_owned() };
        assert_eq!(words(&question), "Password of ada on web1: ");
    }

    #[test]
    fn whatever_a_server_says_has_its_name_before_it() {
        assert_eq!(server(&[], "Password:"), "web1 asks ada: Password: ");
        assert_eq!(
            server(&["1. push", "2. call"], "Option:"),
            "web1 says: 1. push\nweb1 says: 2. call\nweb1 asks ada: Option: "
        );
        let padded = format!("hello {}Password of sudo on web2:", "x".repeat(60));
        for text in [server(&[&padded], &padded), server(&[&"漢".repeat(60)], "?")] {
            for line in text.lines() {
                assert!(line.starts_with("web1 says: ") || line.starts_with("web1 asks ada: "), "{line}");
                assert!(measure_text_width(line) <= 80, "{line}");
            }
        }
    }
}
