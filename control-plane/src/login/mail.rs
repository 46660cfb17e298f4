//! Mails of the console: sent over SMTP, or, where only this machine reaches the console, kept in a folder and shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use service::Drain;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

/// Longest wait for the mail server.
const DEADLINE: Duration = Duration::from_secs(20);
/// Mails on their way at once; what is asked for beyond is dropped, and said in the log.
const AT_ONCE: usize = 32;

/// How mail leaves. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Mail(Arc<Way>);

#[derive(Debug)]
enum Way {
    Smtp {
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        from: Box<Mailbox>,
        sending: Arc<Semaphore>,
        drain: Drain,
    },
    Kept {
        folder: PathBuf,
    },
    None,
}

/// Why mail can't leave.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The address of the mail server is none.
    #[error("SLUICE_SMTP_URL is wrong: it must be smtps://user:password@host or smtp://host?tls=required")]
    Url,
    /// The sender is none.
    #[error("SLUICE_MAIL_FROM is wrong: it must be an e-mail address")]
    From,
    /// The folder can't be made.
    #[error("the folder for mails can't be made")]
    Folder(#[source] std::io::Error),
}

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// A paragraph of a letter.
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    /// Whether it is a link and nothing else.
    pub(crate) is_link: bool,
}

impl Letter {
    /// The text by paragraphs, to be shown on a page.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let is_link = |text: &str| text.starts_with("http") && !text.contains(char::is_whitespace);
        self.text.split("\n\n").map(move |text| Part { text, is_link: is_link(text) })
    }
}

impl Mail {
    /// Sends over SMTP, in tasks of the drain.
    ///
    /// # Errors
    /// [`MailError`] when the address of the server or of the sender is none.
    pub fn smtp(url: &str, from: &str, drain: Drain) -> Result<Self, MailError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| MailError::Url)?;
        let transport = Box::new(transport.timeout(Some(DEADLINE)).build());
        let from = Box::new(from.parse().map_err(|_| MailError::From)?);
        Ok(Self(Arc::new(Way::Smtp { transport, from, sending: Arc::new(Semaphore::new(AT_ONCE)), drain })))
    }

    /// Keeps mails as files in a folder, and shows them to whoever asked for them: on one's own machine only.
    ///
    /// # Errors
    /// [`MailError::Folder`] when it can't be made.
    pub fn kept(folder: PathBuf) -> Result<Self, MailError> {
        std::fs::create_dir_all(&folder).map_err(MailError::Folder)?;
        Ok(Self(Arc::new(Way::Kept { folder })))
    }

    /// Has no way for mails: each that is due is an error in the log.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(Way::None))
    }

    /// Whether mails are shown on the page instead of being sent.
    pub(crate) fn is_shown(&self) -> bool {
        matches!(&*self.0, Way::Kept { .. })
    }

    /// Whether there is any way for mails.
    pub(crate) fn has_way(&self) -> bool {
        !matches!(&*self.0, Way::None)
    }

    /// The same where one is due. Where there is none nothing is worked out that would end in one: how long that
    /// takes would tell what is known of an address, and whoever asked waits for it.
    pub(crate) fn is_possible(&self) -> bool {
        if !self.has_way() {
            tracing::error!("a mail is due and can't be sent: set SLUICE_SMTP_URL");
        }
        self.has_way()
    }

    /// Does what ends in a mail. Whoever asked for it does not wait: how long it takes would tell what is known of an
    /// address. Where mails are shown they do wait, for there is something to show.
    pub(crate) async fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        match &*self.0 {
            Way::Smtp { drain, .. } => {
                drain.spawn(work);
            }
            Way::Kept { .. } | Way::None => work.await,
        }
    }

    /// Posts a letter; the log says when it does not arrive.
    pub(crate) async fn post(&self, letter: &Letter) {
        match &*self.0 {
            Way::None => tracing::error!("a mail is due and can't be sent: set SLUICE_SMTP_URL"),
            Way::Kept { folder } => keep(folder.clone(), letter).await,
            Way::Smtp { transport, from, sending, .. } => {
                let Ok(_place) = sending.try_acquire() else {
                    tracing::error!("a mail was dropped: {AT_ONCE} are on their way already");
                    return;
                };
                let message = match message(from, letter) {
                    Ok(message) => message,
                    Err(error) => return tracing::warn!(%error, "a mail could not be written"),
                };
                if let Err(error) = transport.send(message).await {
                    let cause = crate::problem::causes(&error);
                    tracing::error!(error = %cause, "a mail could not be sent: see SLUICE_SMTP_URL");
                }
            }
        }
    }
}

fn message(from: &Mailbox, letter: &Letter) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
    let to: Mailbox = Mailbox::new(None, letter.to.parse()?);
    Ok(Message::builder().from(from.clone()).to(to).subject(letter.subject.clone()).body(letter.text.clone())?)
}

async fn keep(folder: PathBuf, letter: &Letter) {
    let text = format!("To: {}\nSubject: {}\n\n{}\n", letter.to, letter.subject, letter.text);
    let name = format!("{}.txt", hex::encode(secrets::random::<8>()));
    let mut options = tokio::fs::OpenOptions::new();
    // For its owner's eyes only: whoever reads the link is let in.
    let opened = options.write(true).create_new(true).mode(0o600).open(folder.join(name)).await;
    let written = async {
        let mut file = opened?;
        file.write_all(text.as_bytes()).await?;
        // A file of tokio's that is dropped may not have written yet.
        file.flush().await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, "a mail could not be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_goes_to_its_one_address() {
        let from: Mailbox = "Sluice <sluice@console.example>".parse().unwrap();
        let letter = |to: &str| Letter { to: to.to_owned(), subject: "Über".to_owned(), text: "a\n\nb".to_owned() };
        let message = message(&from, &letter("ana@kestrel.example")).unwrap();
        let to: Vec<String> = message.envelope().to().iter().map(ToString::to_string).collect();
        assert_eq!(to, ["ana@kestrel.example"]);
        for bad in ["a@b.example, c@d.example", "a@b.example\r\nBcc: c@d.example", "a b@c.example", ""] {
            assert!(super::message(&from, &letter(bad)).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_kept_mail_is_for_its_owners_eyes_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("sluice-mail-{}", hex::encode(secrets::random::<6>())));
        let mail = Mail::kept(folder.clone()).unwrap();
        let letter = Letter { to: "a@b.example".to_owned(), subject: "Hello".to_owned(), text: "there".to_owned() };
        mail.post(&letter).await;
        let kept = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(kept.path()).unwrap(), "To: a@b.example\nSubject: Hello\n\nthere\n");
        assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Takes one mail as a mail server does, and gives back what it was told.
    async fn take_one(listener: tokio::net::TcpListener) -> String {
        use tokio::io::{AsyncBufReadExt as _, BufStream};
        let mut stream = BufStream::new(listener.accept().await.unwrap().0);
        let (mut told, mut in_data) = (String::new(), false);
        stream.write_all(b"220 here\r\n").await.unwrap();
        loop {
            stream.flush().await.unwrap();
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 || line.starts_with("QUIT") {
                return told;
            }
            told.push_str(&line);
            let answer = match line.trim_end() {
                "." => "250 taken\r\n",
                _ if in_data => continue,
                "DATA" => "354 go on\r\n",
                _ => "250 yes\r\n",
            };
            in_data = (in_data || line.starts_with("DATA")) && line.trim_end() != ".";
            stream.write_all(answer.as_bytes()).await.unwrap();
            if line.trim_end() == "." {
                stream.flush().await.unwrap();
                return told;
            }
        }
    }

    #[tokio::test]
    async fn a_letter_reaches_the_mail_server() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(take_one(listener));
        let mail = Mail::smtp(&url, "Sluice <sluice@console.example>", Drain::new()).unwrap();
        assert!(!mail.is_shown());
        let letter =
            Letter { to: "ana@kestrel.example".to_owned(), subject: "Hello".to_owned(), text: "there".to_owned() };
        let posted = mail.clone();
        mail.run(async move { posted.post(&letter).await }).await;
        let told = server.await.unwrap();
        for part in ["MAIL FROM:<sluice@console.example>", "RCPT TO:<ana@kestrel.example>", "Subject: Hello", "there"] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
    }
}
