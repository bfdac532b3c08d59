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
    /// How many questions were for a password.
    passwords: usize,
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
        let words = password.expose_secret().to_owned();
        let result = self.handle.authenticate_password(self.user, words).await;
        let answer = result.map_or(Answer::Gone, |result| self.read(result));
        self.typed = Some(Typed::Password);
        if matches!(answer, Answer::Refused { partial: false, .. }) {
            *account = Account::Refused;
        }
        answer
    }

    /// The one that is known, or what a person types.
    async fn password_of(&self, account: &mut Account) -> Result<SecretString, Answer> {
        let (user, host) = (self.user.to_owned(), self.options.target.host.clone());
        match account {
            Account::Typed(password) => Ok(password.clone()),
            Account::Refused => Err(Answer::GivenUp(format!(
                "{host} has refused the password of {user} before: it is not tried again"
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
        let mut conversation =
            Conversation { account: &mut account, said: Vec::new(), passwords: 0, asked: false };
        let answer = self.converse(&mut conversation).await;
        let Conversation { passwords, asked, .. } = conversation;
        if asked {
            self.typed = Some(if passwords > 0 { Typed::Password } else { Typed::Answers });
        }
        match answer {
            Answer::Refused { partial: false, .. } if passwords > 0 => *account = Account::Refused,
            // One of them is a new password, and nobody can tell which.
            Answer::Taken | Answer::Refused { .. } if passwords > 1 => *account = Account::Unasked,
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
            let mut answers = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                match self.answer(conversation, &prompt).await {
                    Ok(answer) => answers.push(answer.expose_secret().to_owned()),
                    Err(answer) => return answer,
                }
            }
            response = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        Answer::GivenUp(format!("{} asks more than it should, so it was left", self.options.target.host))
    }

    /// The first hidden question for a password is for that of the account, which may be known.
    async fn answer(
        &self,
        conversation: &mut Conversation<'_>,
        prompt: &Prompt,
    ) -> Result<SecretString, Answer> {
        let is_password = !prompt.echo && prompt.prompt.to_lowercase().contains("password");
        conversation.passwords += usize::from(is_password);
        let is_of_account = is_password && conversation.passwords == 1;
        if is_of_account {
            match conversation.account {
                Account::Typed(password) => {
                    conversation.asked = true;
                    return Ok(password.clone());
                }
                Account::Refused => return self.password_of(conversation.account).await,
                Account::Unasked => {}
            }
        }
        let answer = self.ask(self.question(conversation, prompt)).await?;
        conversation.asked = true;
        if is_of_account {
            *conversation.account = Account::Typed(answer.clone());
        }
        Ok(answer)
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
