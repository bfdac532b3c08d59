//! Logins with what a person types: a password, or answers to whatever the server asks.

use russh::client::{KeyboardInteractiveAuthResponse as Response, Prompt};
use secrecy::{ExposeSecret, SecretString};

use super::{Answer, Login};
use crate::error::Typed;
use crate::hops::identity;
use crate::keyring::{Account, Question};
use crate::printable::printable;

/// More questions than any honest server has.
const MOST_ROUNDS: usize = 16;
const MOST_PROMPTS: usize = 8;
/// What else it may say, in lines.
const MOST_LINES: usize = 24;

/// One exchange of questions and answers.
struct Conversation<'a> {
    account: &'a mut Account,
    /// What was said with nothing asked, so far.
    said: Vec<String>,
    /// The account's, if it was asked for.
    password: Option<SecretString>,
    /// Another password was asked for: a new one, or one for one time.
    has_other: bool,
    asked: bool,
}

impl Login<'_> {
    /// Tries a password once.
    pub(super) async fn password(&mut self) -> Answer {
        let account = self.options.keyring.account(identity(self.options));
        let mut account = self.shared.asking(account.lock()).await;
        let password = match self.password_of(&mut account).await {
            Ok(password) => password,
            Err(answer) => return answer,
        };
        if self.handle.is_closed() {
            return Answer::Gone;
        }
        account.risk();
        let words = password.expose_secret().to_owned();
        let result = self.handle.authenticate_password(self.user, words).await;
        let answer = result.map_or(Answer::Gone, |result| self.read(result));
        self.typed = Some(Typed::Password);
        match answer {
            Answer::Taken | Answer::Refused { partial: true, .. } => *account = Account::Proven(password),
            Answer::Refused { .. } => *account = Account::Refused,
            _ => {}
        }
        answer
    }

    /// The one that is known, or what a person types.
    async fn password_of(&self, account: &mut Account) -> Result<SecretString, Answer> {
        let (user, host) = (self.user.to_owned(), self.options.target.host.clone());
        match account {
            Account::Typed(password) | Account::Proven(password) => Ok(password.clone()),
            Account::Refused => Err(Answer::GivenUp(format!(
                "{host} has refused the password of {user} before, or hung up on it: it is not tried again"
            ))),
            Account::Unasked => {
                let password = self.ask(Question::Password { user, host }).await?;
                *account = Account::Typed(password.clone());
                Ok(password)
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<SecretString, Answer> {
        let host = &self.options.target.host;
        let asked = self.shared.asking(self.options.keyring.ask(question)).await;
        asked.map_err(|error| Answer::GivenUp(format!("the question of {host} was not answered: {error}")))
    }

    /// Lets the server ask, and a person answer.
    pub(super) async fn answers(&mut self) -> Answer {
        let account = self.options.keyring.account(identity(self.options));
        let mut account = self.shared.asking(account.lock()).await;
        let mut conversation = Conversation {
            account: &mut account,
            said: Vec::new(),
            password: None,
            has_other: false,
            asked: false,
        };
        let answer = self.converse(&mut conversation).await;
        let Conversation { password, has_other, asked, .. } = conversation;
        if asked {
            self.typed = Some(if password.is_some() { Typed::Password } else { Typed::Answers });
        }
        match (&answer, password) {
            (Answer::Taken | Answer::Refused { partial: true, .. }, password) => {
                if let Some(password) = password {
                    *account = Account::Proven(password);
                }
                // The other may be a new one, and nobody can tell.
                if has_other && !matches!(*account, Account::Refused) {
                    *account = Account::Unasked;
                }
            }
            (Answer::Refused { .. }, Some(_)) => *account = Account::Refused,
            // russh looks for the end of the line only when the answers have been sent. A server that gives the
            // reason has had them.
            (Answer::Gone, Some(password)) if self.counter.was_gone() && self.shared.ended_silently() => {
                if matches!(*account, Account::Refused) {
                    *account = Account::Typed(password);
                }
            }
            _ => {}
        }
        answer
    }

    async fn converse(&mut self, conversation: &mut Conversation<'_>) -> Answer {
        let user = self.user.to_owned();
        let mut response = self.handle.authenticate_keyboard_interactive_start(user, None).await;
        for _ in 0..MOST_ROUNDS {
            let (name, instructions, prompts) = match response {
                Ok(Response::InfoRequest { name, instructions, prompts }) => (name, instructions, prompts),
                Ok(Response::Success) => return Answer::Taken,
                Ok(Response::Failure { remaining_methods, partial_success }) => {
                    return self.refused(&remaining_methods, partial_success);
                }
                Err(_) => return Answer::Gone,
            };
            if prompts.len() > MOST_PROMPTS {
                break;
            }
            conversation.hear(&name);
            conversation.hear(&instructions);
            let mut answers: Vec<SecretString> = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                match self.answer(conversation, &prompt).await {
                    Ok(answer) => answers.push(answer),
                    Err(answer) => return answer,
                }
            }
            if conversation.password.is_some() {
                conversation.account.risk();
            }
            let answers = answers.iter().map(|answer| answer.expose_secret().to_owned()).collect();
            response = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        Answer::GivenUp(format!("{} asks more than it should, so it was left", self.options.target.host))
    }

    /// The first hidden question for the account's password, which may be known, is answered with that.
    async fn answer(
        &self,
        conversation: &mut Conversation<'_>,
        prompt: &Prompt,
    ) -> Result<SecretString, Answer> {
        let is_of_account =
            !prompt.echo && conversation.password.is_none() && self.is_of_account(&prompt.prompt);
        let is_unasked = matches!(conversation.account, Account::Unasked);
        let answer = if is_of_account && !is_unasked {
            self.password_of(conversation.account).await?
        } else {
            self.ask(self.question(conversation, prompt)).await?
        };
        conversation.asked = true;
        if is_of_account {
            conversation.password = Some(answer.clone());
            if is_unasked {
                *conversation.account = Account::Typed(answer.clone());
            }
        } else {
            conversation.has_other |= !prompt.echo && prompt.prompt.to_lowercase().contains("password");
        }
        Ok(answer)
    }

    /// Whether it is for the password of the account, and not for a new one, or one for one time, or whatever else
    /// servers call a password: `Password:`, maybe with whose it is in front.
    fn is_of_account(&self, prompt: &str) -> bool {
        let is_user = |who: &str| {
            who.strip_prefix(self.user)
                .is_some_and(|at| at.is_empty() || (at.starts_with('@') && !at.contains(char::is_whitespace)))
        };
        let prompt = prompt.trim();
        let in_front = prompt.strip_prefix('(').and_then(|prompt| prompt.split_once(')'));
        let whose = in_front.or_else(|| prompt.split_once("'s "));
        let asked = whose.map_or(prompt, |(who, asked)| if is_user(who) { asked } else { prompt });
        asked.strip_suffix(':').is_some_and(|asked| asked.trim().eq_ignore_ascii_case("password"))
    }

    fn question(&self, conversation: &mut Conversation<'_>, prompt: &Prompt) -> Question {
        // A menu, and what is to be chosen in the last line.
        let (before, last) = prompt.prompt.trim().rsplit_once('\n').unwrap_or(("", &prompt.prompt));
        conversation.hear(before);
        Question::Server {
            user: self.user.to_owned(),
            host: self.options.target.host.clone(),
            said: std::mem::take(&mut conversation.said),
            prompt: in_one_line(last),
            hidden: !prompt.echo,
        }
    }
}

impl Conversation<'_> {
    fn hear(&mut self, text: &str) {
        let free = MOST_LINES.saturating_sub(self.said.len());
        self.said.extend(text.lines().map(in_one_line).filter(|line| !line.is_empty()).take(free));
    }
}

/// Without gaps that could push what follows into another line.
fn in_one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
